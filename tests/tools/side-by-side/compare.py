# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, usage_cases

usage_cases('compare', 'a.qcow2', 'base.raw')
case('compare')
case('compare', 'a.qcow2')
case('compare', 'a.qcow2', 'a.qcow2', 'a.qcow2')
case('compare', 'a.qcow2', 'nofile')
case('compare', 'nofile', 'a.qcow2')
case('compare', '-f', 'bogus', 'a.qcow2', 'a.qcow2')
case('compare', '-F', 'bogus', 'a.qcow2', 'a.qcow2')
case('compare', '-F', 'qcow2', 'a.qcow2', 'base.raw', error_text=False)
case('compare', '-T', 'bogus', 'a.qcow2', 'a.qcow2')
for first, second in [('a.qcow2', 'base.raw'), ('base.raw', 'sub/over.qcow2'), ('v2.qcow2', 'snap.qcow2'), ('v2.qcow2', 'bitmap.qcow2'),
                      ('comp.qcow2', 'zstd.qcow2'), ('empty.raw', 'v2.qcow2'), ('v2.qcow2', 'empty.raw'), ('odd.raw', 'small.qcow2'),
                      ('full.qcow2', 'lazy.qcow2'), ('ext.qcow2', 'lazy.qcow2'), ('empty.raw', 'empty.raw')]:
    for options in [(), ('-q',)]:
        case('compare', *options, first, second)
    case('compare', '-s', '-q', first, second)
for name in IMAGES:
    case('compare', name, name)
    case('compare', '-s', name, name)
for options in [('-T', 'none'), ('-U',), ('-f', 'qcow2', '-F', 'qcow2'), ('-f', 'raw', '-F', 'raw')]:
    case('compare', *options, 'a.qcow2', 'bitmap.qcow2')
case('compare', '-s', 'base.raw', 'v2.qcow2')
case('compare', '-s', 'base.raw', 'a.qcow2')
case('compare', '-s', 'lazy.qcow2', 'v2.qcow2')
case('compare', '-s', 'ext.qcow2', 'lazy.qcow2')
case('compare', '--image-opts', 'driver=qcow2,file.filename=a.qcow2', 'driver=raw,file.filename=base.raw')
case('compare', '--image-opts', '-f', 'raw', 'driver=qcow2,file.filename=a.qcow2', 'driver=raw,file.filename=base.raw',
     error_text=False)
