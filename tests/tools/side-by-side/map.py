# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, usage_cases

usage_cases('map', 'a.qcow2')
case('map')
case('map', 'a.qcow2', 'base.raw')
case('map', '--output=xml', 'a.qcow2')
case('map', 'nofile')
case('map', '-f', 'bogus', 'a.qcow2')
for name in IMAGES:
    case('map', name)
    case('map', '--output=json', name)
for size in ['abc', '-1', '1X', '9E', '1.5', '', '0x', '99999999999999999999']:
    case('map', '--start-offset', size, 'a.qcow2')
    case('map', '--max-length', size, 'a.qcow2')
for options in [('--start-offset=64k',), ('--max-length=100k',), ('--start-offset=3M',), ('--max-length=0',),
                ('--start-offset=1.5M', '--max-length=1K'), ('-U',), ('-f', 'qcow2'), ('-f', 'raw')]:
    case('map', *options, 'a.qcow2')
    case('map', '--output=json', *options, 'a.qcow2')
