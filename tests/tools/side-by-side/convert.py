# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, differs, usage_cases

usage_cases('convert', 'a.qcow2', 'new')
case('convert', error_text=False)
case('convert', 'a.qcow2', error_text=False)
case('convert', 'nofile', 'new')
case('convert', '-f', 'bogus', 'a.qcow2', 'new')
case('convert', '-O', 'bogus', 'a.qcow2', 'new')
differs('nothing is created before the command line is understood', 'convert', '-t', 'bogus', 'a.qcow2', 'new', status=1)
case('convert', '-T', 'bogus', 'a.qcow2', 'new')
case('convert', '-C', '-S', '4k', 'a.qcow2', 'new', error_text=False)
for size in ['1000', 'abc', '17M']:
    case('convert', '-S', size, 'a.qcow2', 'new', error_text=False)
for number in ['0', '17', 'a', '-1']:
    case('convert', '-m', number, 'a.qcow2', 'new')
for name in IMAGES:
    case('convert', '-O', 'raw', name, 'new')
for options in [('-q',), ('-U',), ('-W',), ('-C',), ('-m', '4'), ('-t', 'none'), ('-T', 'unsafe'), ('-S', '64k'), ('-f', 'raw'),
                ('-f', 'qcow2')]:
    case('convert', '-O', 'raw', *options, 'a.qcow2', 'new')
case('convert', '-O', 'raw', '-l', 'one', 'snap.qcow2', 'new')
case('convert', '-O', 'raw', '-l', 'snapshot.name=two', 'snap.qcow2', 'new')
case('convert', '-O', 'raw', 'a.qcow2', 'odd.raw')
# The target as options.
case('convert', '--target-image-opts', 'a.qcow2', 'driver=qcow2,file.filename=v2.qcow2')
case('convert', '-n', '--target-image-opts', '-O', 'qcow2', 'a.qcow2', 'driver=qcow2,file.filename=v2.qcow2')
case('convert', '-n', '--target-image-opts', 'a.qcow2', 'v2.qcow2')
for target in ['driver=qcow2,file.filename=a.qcow2', 'driver=raw,file.filename=odd.raw', 'driver=raw,file.filename=base.raw',
               'driver=qcow2,file.filename=nofile', 'driver=qcow2,file.filename=a.qcow2,read-only=on']:
    for options in [(), ('-c',)]:
        case('convert', '-n', '--target-image-opts', *options, '-f', 'raw', 'base.raw', target,
             error_text=not target.startswith('driver=raw'))
