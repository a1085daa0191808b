# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, differs

case('resize')
case('resize', 'a.qcow2')
case('resize', '--bogus', 'a.qcow2', '1M')
case('resize', 'a.qcow2', 'base.raw', '1M')
case('resize', 'nofile', '1M')
for size in ['x', '1X', '', '+', '-', '0', '+0', '-9M', '1.5', '3000']:
    case('resize', '-f', 'qcow2', 'full.qcow2', size)
case('resize', '-f', 'qcow2', 'full.qcow2', '9E', error_text=False)
for size in ['3M', '+1M', '2M', '+64k', '1.5G', '+0x10000']:
    case('resize', 'a.qcow2', size)
    case('resize', '-q', 'a.qcow2', size)
for name in ['comp.qcow2', 'v2.qcow2', 'ext.qcow2', 'small.qcow2', 'lazy.qcow2', 'zstd.qcow2']:
    case('resize', name, '+1M')
    case('resize', '--shrink', name, '64k')
    case('resize', name, '64k')
for size in ['2M', '+1M', '512', '1000']:
    case('resize', '-f', 'raw', '--shrink', 'base.raw', size)
case('resize', '-f', 'raw', '--shrink', 'base.raw', '-512k')
case('resize', '-f', 'raw', 'base.raw', '-512k')
for mode in ['off', 'falloc', 'full']:
    case('resize', '-f', 'raw', '--preallocation=' + mode, 'base.raw', '+64k')
for mode in ['off', 'metadata', 'falloc', 'full']:
    case('resize', '--preallocation=' + mode, 'v2.qcow2', '+1M')
case('resize', '--preallocation=bogus', 'v2.qcow2', '+1M')
case('resize', '--preallocation', 'full', '--shrink', 'v2.qcow2', '-64k')
case('resize', '--preallocation=metadata', 'v2.qcow2', '1M')
case('resize', '--preallocation=off', 'v2.qcow2', '1M')
differs('version 2 has no mark for the zeroes above the backing file', 'resize', 'old.qcow2', '64k', status=0)
differs('QEMU shows what a compressed cluster held behind the end', 'resize', 'cut.qcow2', '1M', status=0)
