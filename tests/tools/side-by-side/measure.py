# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, differs

for arguments in [('--bogus', 'a.qcow2'), ('-Z', 'a.qcow2'), ('-f',), ('a.qcow2', '--object')]:
    differs('a mistake in the command line is a failure', 'measure', *arguments, status=1)
case('measure')
case('measure', 'a.qcow2', 'a.qcow2')
case('measure', 'nofile')
case('measure', '--size', '1M', 'a.qcow2')
case('measure', '-f', 'raw', '--size', '1M')
case('measure', '-l', 'one', '--size', '1M')
case('measure', '--output=xml', '--size', '1M')
case('measure', '-O', 'bogus', '--size', '1M')
case('measure', '-O', 'qcow2', '-f', 'bogus', 'a.qcow2')
for size in ['1X', '9E', 'abc', '-1', '', '1.5', '0', '1', '512', '1000', '1M', '64k', '10G', '1T', '0x10000']:
    for format in ['raw', 'qcow2']:
        case('measure', '-O', format, '--size', size)
for name in IMAGES:
    for options in [(), ('-O', 'qcow2'), ('-O', 'qcow2', '--output=json'), ('-O', 'qcow2', '-o', 'cluster_size=4k')]:
        case('measure', *options, name)
for options in ['cluster_size=512', 'compat=0.10', 'refcount_bits=1', 'extended_l2=on', 'preallocation=full', 'preallocation=falloc',
                'preallocation=metadata', 'lazy_refcounts=on', 'backing_file=x', 'data_file=x,data_file_raw=on', 'size=3']:
    case('measure', '-O', 'qcow2', '-o', options, 'a.qcow2')
    case('measure', '-O', 'qcow2', '-o', options, '--size', '5M')
for options in ['cluster_size=1000', 'cluster_size=4M', 'refcount_bits=3', 'compat=0.10,refcount_bits=8', 'cluster_size=8k,extended_l2=on']:
    case('measure', '-O', 'qcow2', '-o', options, '--size', '1M', error_text=False)
case('measure', '-O', 'qcow2', '-o', 'size=3')
case('measure', '-O', 'qcow2', '-o', ',', '--size', '1M')
for options in ['bogus=1', 'preallocation=some', 'compat=1']:
    case('measure', '-O', 'qcow2', '-o', options, '--size', '1M', error_text=False)
case('measure', '-O', 'raw', '-o', 'cluster_size=4k', '--size', '1M', error_text=False)
case('measure', '-O', 'qcow2', '--size', '100P', error_text=False)
case('measure', '-O', 'qcow2', '-l', 'one', 'snap.qcow2')
case('measure', '-O', 'qcow2', '-l', 'snapshot.name=two', 'snap.qcow2')
case('measure', '-O', 'qcow2', '-l', 'none', 'snap.qcow2', error_text=False)
case('measure', '-U', 'a.qcow2')
case('measure', '--image-opts', 'driver=qcow2,file.filename=a.qcow2')
case('measure', '--image-opts', '-f', 'raw', 'driver=qcow2,file.filename=a.qcow2', error_text=False)
for options in ['compat=0.10,extended_l2=on', 'compat=0.10,lazy_refcounts=on']:
    differs('such an image could not be made', 'measure', '-O', 'qcow2', '-o', options, '--size', '1M', status=1)
for options in ['compat=v2', 'compat=v3']:
    differs('"create" takes the word, too', 'measure', '-O', 'qcow2', '-o', options, '--size', '1M', status=0)
