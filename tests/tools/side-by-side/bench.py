# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, differs

case('bench', '--bogus', 'v2.qcow2')
case('bench', '-Z', 'v2.qcow2')
case('bench', '-f')
differs('later versions of QEMU have this option', 'bench', 'v2.qcow2', '--object')
case('bench')
case('bench', 'v2.qcow2', 'ext.qcow2')
case('bench', 'nofile')
for letter in 'cd':
    for number in ['x', '-1', '', '1.5', '99999999999', '1k']:
        case('bench', '-' + letter, number, 'v2.qcow2')
for letter in 'osS':
    for size in ['x', '-1', '', '9E', '1.5']:
        case('bench', '-' + letter, size, 'v2.qcow2')
case('bench', '-s', '2G', 'v2.qcow2')
case('bench', '-S', '2G', 'v2.qcow2')
case('bench', '-t', 'bogus', 'v2.qcow2')
case('bench', '-i', 'bogus', 'v2.qcow2')
case('bench', '--pattern', '300', 'v2.qcow2')
case('bench', '--flush-interval', 'x', 'v2.qcow2')
case('bench', '--flush-interval', '5', 'v2.qcow2')
case('bench', '-w', '--flush-interval', '5', 'v2.qcow2')
case('bench', '-c', '0', 'v2.qcow2')
case('bench', '-c', '0x10', 'v2.qcow2')
for options in [(), ('-q',), ('-n', '-t', 'none'), ('-d', '3'), ('-s', '8k', '-S', '16k'), ('-o', '64k'), ('-U',), ('-f', 'raw'),
                ('-i', 'threads'), ('-t', 'writeback'), ('-t', 'unsafe'), ('--no-drain',), ('--pattern', '3'),
                ('-s', '0')]:
    case('bench', '-c', '50', *options, 'v2.qcow2')
for options in [(), ('--pattern=17',), ('--pattern=0x11', '-s', '1k', '-S', '5k'), ('-d', '4', '--flush-interval', '8'),
                ('-d', '4', '--flush-interval', '8', '--no-drain'), ('-t', 'writethrough'), ('-t', 'directsync', '-o', '4k')]:
    case('bench', '-w', '-c', '50', *options, 'v2.qcow2')
case('bench', '-w', '-U', 'v2.qcow2')
case('bench', '-o', '2M', '-c', '3', 'v2.qcow2')
for options in [('-n',), ('-i', 'native')]:
    differs('how the kernel is asked has no conditions here', 'bench', '-c', '5', *options, 'v2.qcow2', status=0)
