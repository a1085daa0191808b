# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, differs

differs('a mistake in the command line is told in a line', 'io', 'a.qcow2', 'base.raw', status=1)
case('io', '-c', 'length', 'nofile')
for option, value in [('-t', 'bogus'), ('-i', 'bogus'), ('-d', 'bogus')]:
    case('io', option, value, '-c', 'length', 'a.qcow2')
for name in IMAGES:
    if not name.endswith('.raw'):
        case('io', '-r', '-c', 'length', '-c', 'map', name)
for name in ['base.raw', 'odd.raw', 'empty.raw']:
    case('io', '-r', '-f', 'raw', '-c', 'length', name)
for command in ['read -P 1 64k 64k', 'read -P 2 64k 64k', 'read -v 64k 64', 'read -v -q 64k 20', 'read 3 7', 'read -p 0 4k',
                'read -C 0 4k', 'read -q 0 1M', 'read -P 1 -s 512 64k 4k', 'read -P 0 -s 1k -l 512 0 4k', 'readv -v 0 16 16',
                'readv -P 1 64k 512 512', 'alloc 0 1M', 'alloc 64k', 'map', 'length', 'quit', 'read 0 0', 'read', 'read abc 4k',
                'read 0 abc', 'read -P xx 0 4k', 'read -P 300 0 512', 'bogus', 'length x', 'alloc', 'help bogus', '']:
    case('io', '-r', '-c', command, 'a.qcow2')
for commands in [('write -P 9 0 64k',), ('write -z 64k 64k',), ('write -z -u 64k 64k',), ('write -c -P 4 128k 64k',),
                 ('discard 64k 64k',), ('flush',), ('truncate 4M',), ('writev -P 3 512 512 1k',), ('write -q 3 7',),
                 ('aio_write -P 5 64k 4k', 'aio_flush', 'read -P 5 64k 4k'), ('aio_read -P 1 64k 4k', 'aio_flush'),
                 ('write 0', 'write -P 1 0 4k'), ('write -P 300 0 4k',), ('write -z -c 0 64k',), ('discard 0',)]:
    options = [text for command in commands for text in ('-c', command)]
    case('io', *options, 'a.qcow2')
    case('io', '-r', *options, 'a.qcow2')
for mode in ['writeback', 'writethrough', 'none', 'off', 'directsync', 'unsafe']:
    case('io', '-t', mode, '-c', 'write -P 3 0 4k', 'a.qcow2')
for mode in ['ignore', 'off', 'unmap', 'on']:
    case('io', '-d', mode, '-c', 'discard 64k 64k', 'a.qcow2')
case('io', '-f', 'raw', '-c', 'write -P 3 0 4k', 'base.raw')
case('io', '-U', '-r', '-c', 'length', 'a.qcow2')
case('io', '-f', 'bogus', '-c', 'length', 'a.qcow2')
case('io', '-r', 'a.qcow2', stdin='length\nbogus\nread -P 9 0 512\nquit\nlength\n')
case('io', '-r', 'a.qcow2', stdin='length')
# Changes that are thrown away, copies of what is read, memory anywhere.
for options in [('-s',), ('-C',), ('-m',), ('-s', '-C'), ('-s', '-t', 'writethrough')]:
    for commands in [('write -P 9 0 64k', 'read -P 9 0 64k', 'alloc 0 1M', 'map'), ('read -q 0 512', 'read -q 900k 1k', 'map'),
                     ('read -q 64k 512', 'aio_read -q 300k 4k', 'aio_flush', 'map'), ('truncate 4M', 'length'), ('write -z 0 1M', 'map'),
                     ('read 0 0', 'map'), ('discard 64k 64k', 'map'), ('write -c -P 3 512k 64k',)]:
        case('io', *options, *[text for command in commands for text in ('-c', command)], 'a.qcow2')
for option in ['-s', '-C', '-m']:
    case('io', option, '-r', '-c', 'write 0 512', '-c', 'length', 'a.qcow2')
    case('io', option, '-f', 'raw', '-c', 'write -P 5 0 4k', '-c', 'read -P 5 0 4k', 'base.raw')
    case('io', option, '-c', 'length', 'nofile')

# As scripts do it.
case('io', 'a.qcow2', stdin='write -P 1 0 64k\nwrite -z 128k 64k\nread -P 1 0 64k\nread -P 9 0 64k\naio_write -P 3 256k 64k\naio_flush\n'
     'sleep 5\nread -v 256k 32\nflush\nalloc 0 1M\nmap\n  length  \n# no comment\n\nq\nlength\n')
for command in ['sleep', 'sleep 1', 'sleep x', 'sleep -1', 'help sleep', 'aio_read', 'aio_read -v 64k 32', 'aio_read -C 0 4k',
                'aio_read -i 0 4k', 'aio_read -x 0 4k', 'aio_read 100M 4k', 'multiwrite 0 4k', 'read 100M 4k', 'read 2M 512', 'read 1.5M 512',
                'read 0 -1', 'read 0 3G', 'read 0 9E', 'read -x 0 4k', 'read -s 1k 0 4k', 'read -P 1 -s 4k 64k 4k', 'readv', 'readv 0 x',
                'readv 100M 512', 'alloc 0 100M', 'alloc 3M', 'map x', 'truncate 9E', 'truncate -m bogus 3M', 'discard 100M 64k', 'write 100M 4k',
                'write -s nofile 0 4k', 'write -s base.raw 0 4k', 'write -s base.raw -z 0 4k', 'write -u 0 64k', 'write -n 0 64k',
                'write -z -P 3 0 64k', 'write -c 3 64k', 'writev -x 0 512', 'aio_write', 'aio_write -z -P 3 0 4k', 'aio_write 0 512 512',
                'aio_write -u 0 4k', 'quit 3', 'exit']:
    case('io', '-c', command, 'a.qcow2')
case('io', '-f', 'raw', '-c', 'read 100000 512', 'odd.raw')
case('io', '-c', 'write -P 4 0 64k', '-c', 'map', 'sub/over.qcow2')
for commands in [('read -v -P 9 64k 64',), ('w',), ('write -P 1 256k 64k', 'write -c 192k 100k', 'map'), ('write -z -n 3 128k',),
                 ('read -q +64k  512',)]:
    case('io', '-f', 'qcow2', *[text for command in commands for text in ('-c', command)], 'comp.qcow2')
# The state of a machine lies beside the disk.
case('io', '-c', 'read -b 0 4k', 'a.qcow2')
case('io', '-c', 'write -b 0 4k', 'a.qcow2')
for command in ['read -b 0 4k', 'write -b 0 4k', 'write -b -z 0 4k', 'write -b -f 0 4k', 'write -b 7 4k', 'read -b 512 7', 'readv -b 0 512',
                'write -bq 0 3']:
    case('io', '-f', 'raw', '-c', command, 'base.raw')

# The file that the commands work on.
for name in IMAGES:
    case('io', '-r', '-c', 'info', *(['-f', 'raw'] if name.endswith('.raw') else []), name)
for commands in [('info x',), ('close x',), ('close', 'length'), ('close', 'close'), ('c', 'o -r snap.qcow2', 'i', 'l'),
                 ('close', 'open sub/over.qcow2', 'write -P 4 0 4k', 'map', 'close'), ('open snap.qcow2', 'length'),
                 ('aio_read -q 0 4k', 'close', 'open snap.qcow2', 'length'), ('write -P 6 0 4k', 'close', 'open -r a.qcow2', 'read -P 6 0 4k'),
                 ('open -x snap.qcow2', 'length'), ('close', 'open nofile', 'length'), ('close', 'open -r snap.qcow2', 'write 0 512', 'map'),
                 ('reopen',), ('reopen -r', 'write 0 512', 'read -q 0 512', 'reopen -w', 'write -P 3 0 512', 'map'), ('reopen -rw',),
                 ('reopen -r -r',), ('reopen -x',), ('reopen x',), ('reopen -c bogus',), ('reopen -c writethrough', 'write -P 3 0 512'),
                 ('reopen -o lazy-refcounts=on,cache.direct=off', 'write -P 3 0 512'), ('reopen -o bogus=1',), ('reopen -o driver=raw',),
                 ('reopen -o driver=qcow2',), ('reopen -r -o read-only=on',), ('reopen -w -o read-only=off',),
                 ('reopen -c none -o cache.direct=on',), ('reopen -o read-only=off', 'write -P 3 0 512'), ('aio_write -q 0 4k', 'reopen -r', 'map')]:
    options = [text for command in commands for text in ('-c', command)]
    case('io', *options, 'a.qcow2')
for commands in [('reopen -w', 'write -P 3 0 512'), ('reopen -o read-only=off', 'write -P 3 0 512'), ('reopen -o read-only=on', 'write 0 512'),
                 ('reopen -r', 'length')]:
    case('io', '-r', *[text for command in commands for text in ('-c', command)], 'a.qcow2')
for option in ['', '-n', '-i threads', '-i bogus', '-t none', '-t bogus', '-d unmap', '-d off', '-d bogus', '-r', '-s', '-C', '-s -C', '-rU', '-U',
               '-C -r', '-x', '-o driver=qcow2', '-o driver=raw', '-o bogus=1', '-o read-only=on', '-r -o read-only=on', '-o driver=qcow2 -o overlap-check=all']:
    case('io', '-c', 'open %s a.qcow2' % option, '-c', 'write -q -P 9 0 64k', '-c', 'discard -q 64k 64k', '-c', 'read -q 300k 512', '-c', 'map')
for command in ['open', 'open -r', 'open a.qcow2 snap.qcow2', 'open -o driver=qcow2,file.filename=a.qcow2', 'length', 'info', 'map', 'reopen', 'close', 'flush',
                'help bogus', 'aio_flush', 'quit', 'sleep 1', 'sigraise', 'sigraise x', 'sigraise 0', 'sigraise 100', 'sigraise 15']:
    case('io', '-c', command, '-c', 'length')
for options in ['driver=qcow2,file.filename=a.qcow2', 'driver=qcow2,file.filename=nofile', 'driver=qcow2,file.filename=a.qcow2,bogus=1']:
    case('io', '--image-opts', '-c', 'length', options)
    case('io', '--image-opts', '-c', 'open ' + options, '-c', 'length')
case('io', stdin='length\nopen snap.qcow2\nlength\nclose\nclose\nopen -r a.qcow2\nlength\n')
case('io', '-c', 'write -q -P 9 0 64k', '-c', 'flush', '-c', 'sigraise 9', '-c', 'length', 'a.qcow2')
case('io', '-c', 'abort', 'a.qcow2')
# Nothing below is written to then, and no node of QEMU's is named.
case('io', '-s', '-c', 'reopen -r', '-c', 'write 0 512', 'a.qcow2', error_text=False)
case('io', '-C', '-c', 'reopen -r', '-c', 'write 0 512', 'a.qcow2', error_text=False)
case('io', '-c', 'reopen -o read-only=on', '-c', 'write 0 512', 'a.qcow2', error_text=False)
# An overlay is there even where nothing may be written.
for options in [('-r', '-s'), ('-r', '-s', '-f', 'qcow2')]:
    case('io', *options, '-c', 'map', '-c', 'alloc 0 1M', '-c', 'read -q 64k 4k', '-c', 'write 0 512', '-c', 'map', 'a.qcow2')
case('io', '-r', '-s', '-f', 'raw', '-c', 'map', '-c', 'write 0 512', 'base.raw')
case('io', '-c', 'open -r -s a.qcow2', '-c', 'map', '-c', 'write 0 512')
case('io', '-r', '-s', '-C', '-c', 'map', 'a.qcow2', error_text=False)
# Raw disks have no compressed clusters.
for command in ['write -c 0 64k', 'write -c 512 512', 'write -c 0 0', 'write -c 0 5M', 'write -c -P 3 0 512', 'write -c -q 1M 512']:
    case('io', '-f', 'raw', '-c', command, 'base.raw')
