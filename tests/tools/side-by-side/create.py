# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, usage_cases

usage_cases('create', 'new')
case('create')
case('create', 'new')
case('create', 'new', '1M', 'x')
case('create', '-f', 'bogus', 'new', '1M')
case('create', '-f', 'qcow2', 'new')
for size in ['1X', '9E', 'abc', '-1', '', '1.5', '1.', '64.0']:
    case('create', 'new', size)
for format in ['raw', 'qcow2']:
    for size in ['0', '1', '512', '1000', '1M', '1.5M', '64k', '10G', '1T', '0x10000', '1b']:
        case('create', '-f', format, 'new', size)
    case('create', '-f', format, '-q', 'new', '1M')
    case('create', '-f', format, '-o', 'size=2M', 'new')
    case('create', '-f', format, '-o', 'size=2M', 'new', '1M')
    case('create', '-f', format, '-o', 'bogus=1', 'new', '1M')
    case('create', '-f', format, '-o', ',', 'new', '1M')
    case('create', '-f', format, '-o', 'nocow=off', 'new', '1M')
    case('create', '-f', format, '-o', 'preallocation=off', 'new', '1M')
    case('create', '-f', format, '-o', 'preallocation=falloc', 'new', '1M')
    case('create', '-f', format, '-o', 'preallocation=full', 'new', '1M')
for option in ['cluster_size=4k', 'cluster_size=512', 'cluster_size=2M', 'compat=0.10', 'compat=1.1', 'compat=v2',
               'compat=v3', 'lazy_refcounts=on', 'lazy_refcounts=off', 'refcount_bits=1', 'refcount_bits=64',
               'extended_l2=on', 'compression_type=zlib', 'compression_type=zstd', 'preallocation=metadata',
               'cluster_size=4k,lazy_refcounts=on', 'data_file=new.raw', 'data_file=new.raw,data_file_raw=on']:
    case('create', '-f', 'qcow2', '-o', option, 'new', '1M')
case('create', '-f', 'qcow2', '-o', 'cluster_size=4k', '-o', 'refcount_bits=8', 'new', '1M')
case('create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'new')
case('create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'new', '4M')
case('create', '-f', 'qcow2', '-b', 'base.raw', 'new')
case('create', '-f', 'qcow2', '-F', 'raw', 'new', '1M')
case('create', '-f', 'qcow2', '-u', '-b', 'none', '-F', 'raw', 'new', '1M')
case('create', '-f', 'qcow2', '-u', '-b', 'none', '-F', 'raw', 'new')
case('create', '-f', 'qcow2', '-b', 'none', '-F', 'raw', 'new', '1M')
case('create', '-f', 'raw', '-b', 'base.raw', '-F', 'raw', 'new', '1M')
case('create', '-f', 'qcow2', '-o', 'backing_file=base.raw,backing_fmt=raw', 'new')
case('create', '-f', 'qcow2', '-o', 'encryption=off,size=+1M', 'new')
case('create', 'new', ' +4k')
case('create', '-f', 'qcow2', 'none/new', '1M', error_text=False)
for name in ['file:new', 'file:sub/new', 'json:new', 'json:{"driver":"file","filename":"new"}']:
    case('create', '-q', name, '1M', error_text=False)
    case('dd', 'if=small.qcow2', 'of=' + name, error_text=False)
    case('convert', 'small.qcow2', name, error_text=False)
for name in ['new/', 'empty.raw/', 'sub/']:
    case('create', '-q', name, '1M', error_text=False)
    case('create', '-q', '-f', 'qcow2', '-o', 'data_file=' + name, 'other', '1M', error_text=False)
case('create', '-f', 'qcow2', 'a.qcow2', '1M')
case('create', '-f', 'qcow2', '-o', 'lazy_refcounts=maybe', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'cluster_size=x', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'cluster_size=1000', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'refcount_bits=3', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'compat=0.10,lazy_refcounts=on', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'compat=bogus', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'preallocation=bogus', 'new', '1M', error_text=False)
case('create', '-f', 'qcow2', '-o', 'data_file_raw=on', 'new', '1M', error_text=False)
