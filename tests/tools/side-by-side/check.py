# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import QCOW2, RAW, case, differs, usage_cases

usage_cases('check', 'a.qcow2')
case('check')
case('check', 'a.qcow2', 'v2.qcow2')
case('check', '-r', 'x', 'a.qcow2')
case('check', '-r')
case('check', '-T', 'x', 'a.qcow2')
case('check', '-T', 'none', 'a.qcow2')
case('check', '--output=xml', 'a.qcow2')
case('check', 'nofile')
case('check', '-f', 'qcow2', 'base.raw', error_text=False)
case('check', '-f', 'bogus', 'a.qcow2')
for name in QCOW2 + RAW:
    case('check', name)
for name in QCOW2:
    case('check', '--output=json', name)
case('check', '-q', 'a.qcow2')
case('check', '-q', '--output=json', 'a.qcow2')
case('check', '-U', 'snap.qcow2')
case('check', '-f', 'qcow2', '-q', '--output=human', 'ext.qcow2')
for name in ['leak.qcow2', 'corrupt.qcow2']:
    for options in [(), ('-q',), ('--output=json',), ('-r', 'leaks'), ('-r', 'all'), ('-q', '-r', 'all'),
                    ('--output=json', '-r', 'all')]:
        # The findings are worded by the library.
        case('check', *options, name, error_text=False)
case('check', '-r', 'all', 'a.qcow2')
case('check', '--repair=leaks', 'v2.qcow2')
for options in [('-r', 'leaks'), ('-r', 'all')]:
    case('check', *options, '-U', 'leak.qcow2', error_text=False)
differs('QEMU loses the snapshots of an image with bitmaps', 'check', '-r', 'all', 'both.qcow2', status=0)
