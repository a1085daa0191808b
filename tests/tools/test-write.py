# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The commands that change an image, beside qemu-io and qemu-img: texts, exit codes, and what the image holds."""

import json
import os
import random
import re
import shutil

from imagotest import (IMAGO, add_test, assert_fails, can_strace, create, diagnose, equal, good, imago, main, poke,
                       qemu_img, qemu_io, run, test)

# A clock of qemu-io's that goes wrong shows hours.
RATE = re.compile(r'(?:\d+\.\d\d sec|\d+:\d\d:\d\d\.\d\d) \([0-9.e+]+ [A-Za-z]+/sec and [0-9.e+]+ ops/sec\)|\d+:\d\d:\d\d\.\d\d,[0-9.]+,[0-9.]+')


def copies(name):
    """Two equal images, one for each program, and a third one that stays as it is."""
    mine, theirs = 'mine-' + name, 'theirs-' + name
    shutil.copyfile(name, mine)
    shutil.copyfile(name, theirs)
    return mine, theirs


def without_times(text):
    return RATE.sub('TIMES', text)


def same_result(mine, theirs, same_out=True, same_err=True):
    equal(mine.status, theirs.status, '%s\n%s' % (mine, theirs))
    if same_out:
        equal(without_times(mine.out), without_times(theirs.out), '%s\n%s' % (mine, theirs))
    if same_err:
        equal(mine.err.replace('imago: ', ''), theirs.err.replace('qemu-io: ', '').replace('qemu-img: ', ''),
              '%s\n%s' % (mine, theirs))


def size_of(name, format):
    if format == 'raw':
        return os.path.getsize(name)
    with open(name, 'rb') as file:
        return int.from_bytes(file.read(32)[24:], 'big')


def same_disk(mine, theirs, format='qcow2'):
    """Equal for the guest, and ours is in order."""
    good('qemu-img', 'compare', '-q', '-f', format, '-F', format, mine, theirs)
    if format == 'qcow2':
        good('qemu-img', 'check', '-q', mine)
    equal(size_of(mine, format), size_of(theirs, format))


def options_of(commands):
    return [word for command in commands for word in ('-c', command)]


def both(name, *commands, format='qcow2', options=(), **how):
    """Runs the commands in one process of each program on equal images."""
    mine, theirs = copies(name)
    same_result(run(IMAGO, 'io', '-f', format, *options, *options_of(commands), mine),
                run('qemu-io', '-f', format, *options, *options_of(commands), theirs), **how)
    same_disk(mine, theirs, format)
    return mine


def each(name, *commands, **how):
    for command in commands:
        both(name, command, **how)


def mistakes(name, *commands, **how):
    """Commands that fail, or would if qemu-io counted it, and change nothing."""
    for command in commands:
        mine, theirs = copies(name)
        same_result(run(IMAGO, 'io', '-f', 'qcow2', '-c', command, mine), run('qemu-io', '-f', 'qcow2', '-c', command, theirs),
                    **how)
        good('cmp', name, mine)


def make_chain():
    create('base.raw', '1M', 'raw')
    qemu_io('base.raw', ['write -P 7 0 4k', 'write -P 8 512k 300k'], '-f', 'raw')
    create('a.qcow2', '1M', backing=('base.raw', 'raw'))
    qemu_io('a.qcow2', ['write -P 1 64k 64k', 'write -z 256k 64k', 'write -P 3 768k 128k'])
    return 'a.qcow2'


# ---- io write ----

@test
def test_write():
    """write and writev as in qemu-io"""
    make_chain()
    with open('pattern', 'wb') as file:
        file.write(b'0123456789')
    each('a.qcow2', 'write 0 64k', 'write 3 7', 'write -P 5 60k 8k', 'write -P 0x5 0x10 0x20', 'write -q 0 512',
         'write -C 0 512', 'write -p 0 512', 'write -f 0 512', 'write 1023k 1k', 'write 0 1M', 'write 0 0', 'write 1M 0',
         'write -z 0 64k', 'write -z 0 1M', 'write -z 3 70000', 'write -z -u 0 192k', 'write -zn 0 64k', 'write -zf 0 64k',
         'write -znu 64k 300k', 'write -zn 3 512', 'write -znu 100k 70k', 'write -z 0 0', 'write -c 128k 64k', 'write -c 128k 128k', 'write -C -c 192k 64k',
         'write -s pattern 512 1000', 'write -s pattern 65530 3', 'write -q -s pattern 0 3M', 'w 0 512',
         'writev 0 512 512', 'writev -P 3 100 1 2', 'writev -C 0 512', 'writev -q 0 512', 'writev -f 0 512', 'writev 0 0',
         'write 1.5k 1k', 'write -P 1 -P 2 0 512',
         # An error in the library's own words.
         same_out=False)
    both('a.qcow2', 'write -P 5 60k 8k', 'read -P 5 60k 8k', 'write -z 62k 2k', 'read -P 0 62k 2k', 'discard 0 128k',
         'write -c -P 9 128k 64k', 'read -P 9 128k 64k', 'writev -P 6 128k 3 4', 'read -v 128k 16', 'flush', 'map')


@test
def test_write_texts():
    """write: what it prints when it succeeds"""
    make_chain()
    with open('pattern', 'wb') as file:
        file.write(b'0123456789')
    for command in ['write 0 64k', 'write -P 5 3 7', 'write -C 0 512', 'write -q 0 512', 'write -z 0 64k', 'write 0 0',
                    'write -c 128k 64k', 'write -s pattern 512 1000', 'writev 0 512 512', 'writev -C 0 1 2', 'w 0 1M',
                    'discard 0 64k', 'discard -C 0 64k', 'discard -q 0 64k', 'discard 3 7', 'discard 0 0', 'd 0 512',
                    'flush', 'f', 'truncate 2M', 't 512k', 'aio_flush']:
        both('a.qcow2', command)


@test
def test_write_errors():
    """write, discard, truncate: mistakes as in qemu-io"""
    make_chain()
    open('empty', 'w').close()
    mistakes('a.qcow2', 'write', 'write 0', 'write 0 512 512', 'write abc 5', 'write 0 abc', 'write -- -5 5', 'write -P 300 0 512',
         'write -P xx 0 512', 'write -z -P 1 0 64k', 'write -s empty -z 0 64k', 'write -s empty -P 1 0 64k', 'write -u 0 64k',
         'write -n 0 64k', 'write -nu 0 64k', 'write -cf 128k 64k', 'write -c 3 512', 'write -c 512 100', 'write -x 0 512',
         'write -s empty 0 512', 'write -s nofile 0 512', 'write 0 4294967296', 'write -z 0 4294967296',
         'writev', 'writev 0', 'writev 0 abc', 'writev abc 1', 'writev -z 0 512', 'writev 0 4G', 'writev -P 999 0 1',
         'discard', 'discard 0', 'discard 0 5 6', 'discard abc 5', 'discard 0 3000000000', 'discard -x 0 5', 'flush 1',
         'truncate', 'truncate abc', 'truncate 1000', 'truncate -m', 'truncate -m bogus 3M', 'truncate 1 2 3 4',
         'aio_flush 1', 'aio_write', 'aio_write 0', 'aio_write abc 4', 'aio_write 0 xyz', 'aio_write -P 999 0 5',
         'aio_write -u 0 512', 'aio_write -z 0 512 512', 'aio_write 0 4G', 'aio_write -x 0 4', 'aio_read 0',
         'aio_read 0 xyz', 'aio_read -P 999 0 5', 'aio_read -x 0 5')
    # The text of an error is the library's own.
    mistakes('a.qcow2', 'write 1M 512', 'write 0 2M', 'write -z 1M 512', 'write -zn 0 4G', 'writev 8M 4', 'discard 0 2M',
         'discard 1M 512', 'write -c 0 512', same_out=False)
    mistakes('a.qcow2', 'write -b 3 512', 'write -b 0 100', 'write -bz 0 512', 'write -bf 0 512', 'read -b 3 512', 'read -b 0 100')


@test
def test_vm_state():
    """read and write -b: the state of a virtual machine behind the disk; each program reads what the other has written"""
    reads = ['read -b -P 5 0 1k', 'read -b -P 9 1k 512', 'read -b -P 5 1536 1536', 'read -b -P 0 3k 5k', 'read -b -P 7 10M 1M',
             'read -b -P 0 100M 1k', 'read -b -v 1k 1k', 'read -P 1 0 64k', 'read -P 0 64k 960k', 'length']
    for options in ['', 'cluster_size=512', 'extended_l2=on', 'compat=0.10', 'lazy_refcounts=on']:
        create('a.qcow2', '1M', options=options)
        both('a.qcow2', 'write -P 1 0 64k', 'write -b -P 5 0 3k', 'write -b -P 7 10M 1M', 'write -b -P 9 1k 512', *reads)
        for writer, reader in [((IMAGO, 'io', '-f', 'qcow2'), ('qemu-io',)), (('qemu-io',), (IMAGO, 'io', '-r', '-f', 'qcow2'))]:
            create('b.qcow2', '1M', options=options)
            for command in ['write -P 1 0 64k', 'write -b -P 5 0 3k', 'write -b -P 7 10M 1M', 'write -b -P 9 1k 512']:
                good(*writer, '-c', command, 'b.qcow2')
            for command in reads:
                good(*reader, '-c', command, 'b.qcow2')
            good('qemu-img', 'check', '-q', 'b.qcow2')
            good(IMAGO, 'check', '-q', 'b.qcow2')
    create('flat.raw', '1M', 'raw')
    both('flat.raw', 'read -b 0 512', 'write -b 0 512', format='raw')


def ranges_written(name, *commands, format='qcow2'):
    """What the command writes to a file, by its system calls, as (offset, length); and whether it succeeds."""
    arguments = [argument for command in commands for argument in ('-c', command)]
    result = run('strace', '-f', '-qq', '-y', '-s', '0', '-e', 'trace=write,writev,pwrite64,pwritev,pwritev2', '-o', 'trace',
                 IMAGO, 'io', '-f', format, *arguments, name)
    ranges = []
    with open('trace') as file:
        for line in file:
            if '/%s>' % name not in line:
                continue
            call = re.search(r'pwrite(?:64|v|v2)\(.*, (\d+)(?:, (?:0|RWF_\w+(?:\|RWF_\w+)*))?\) += (\d+)$', line)
            assert call, line  # at a place, in one line, and whole
            ranges.append((int(call[1]), int(call[2])))
    return ranges, result.status == 0


def data_ranges(name, format):
    return [(extent['offset'], extent['length'])
            for extent in json.loads(good('qemu-img', 'map', '--output=json', '-f', format, name).out) if 'offset' in extent]


def touches(one, other):
    return one[0] < other[0] + other[1] and other[0] < one[0] + one[1]


@test
def test_zero_without_fallback():
    """write -z -n writes no byte where data lies, whether it can be done or not; and can where qemu-io can"""
    can_strace()
    for format, options in (('raw', None), ('qcow2', 'cluster_size=64k'), ('qcow2', 'compat=0.10'),
                            ('qcow2', 'extended_l2=on')):
        create('fresh', '4M', format, options)
        qemu_io('fresh', ['write -P 5 0 1M', 'write -P 6 2M 100k'], '-f', format)
        places = data_ranges('fresh', format)
        # That the calls are seen at all.
        mine, theirs = copies('fresh')
        ranges, succeeds = ranges_written(mine, 'write -P 9 4k 4k', format=format)
        assert succeeds and any(touches(written, place) for written in ranges for place in places), ranges
        outcomes = set()
        for command in ('-zn 0 64k', '-znu 64k 256k', '-zn 128k 4k', '-znu 1000 3000', '-zn 100k 200k', '-znu 2M 128k',
                        '-zn 3M 1M', '-znu 0 4M'):
            mine, theirs = copies('fresh')
            ranges, succeeds = ranges_written(mine, 'write ' + command, format=format)
            assert not any(touches(written, place) for written in ranges for place in places), (command, ranges)
            if format == 'raw':
                equal(ranges, [], command)
            result = run('qemu-io', '-f', format, '-c', 'write ' + command, theirs)
            assert succeeds or result.status != 0, (format, options, command, str(result))
            if succeeds and result.status == 0:
                same_disk(mine, theirs, format)
            outcomes.add(succeeds)
        # Raw depends on the file system.
        assert format == 'raw' or outcomes == {True, False}, (format, options, outcomes)


@test
def test_write_compressed():
    """write -c stores clusters compressed, with a file as the source too, but never over what is there"""
    make_chain()
    with open('pattern', 'wb') as file:
        file.write(b'0123456789')
    both('a.qcow2', 'write -c -s pattern 128k 192k', 'read -v 327000 16')
    # Zeroes without space are nothing that is there; zeroes with space are.
    both('a.qcow2', 'write -zu 192k 64k', 'write -c -P 7 192k 64k', 'read -P 7 192k 64k')
    good(IMAGO, 'io', '-c', 'write -c -P 5 128k 64k', '-c', 'write -P 6 512k 64k', 'a.qcow2')
    for at in '128k 64k', '64k 128k', '512k 64k', '448k 128k':
        both('a.qcow2', 'write -c -P 8 ' + at, 'read -P 5 128k 64k', 'read -P 6 512k 64k')
    both('a.qcow2', 'write -z 512k 64k', 'write -c -P 9 512k 64k', 'read -P 0 512k 64k')
    extents = good('qemu-img', 'map', '--output=json', 'a.qcow2').json()
    qemu_io('a.qcow2', ['read -P 5 128k 64k', 'read -P 6 512k 64k'], '-r')
    good('qemu-img', 'check', '-q', 'a.qcow2')
    # Compressed data has no place that a map could tell.
    assert [e for e in extents if e['start'] <= 128 << 10 < e['start'] + e['length'] and 'offset' not in e], extents


@test
def test_read_only():
    """-r: what would change something is refused as in qemu-io, and the file is not touched"""
    make_chain()
    before = os.stat('a.qcow2')
    commands = ['write 0 512', 'writev 0 512', 'write -z 0 64k', 'discard 0 64k', 'truncate 2M', 'aio_write 0 512', 'flush',
                'write', 'read -P 1 64k 512']
    same_result(run(IMAGO, 'io', '-r', *options_of(commands), 'a.qcow2'),
                run('qemu-io', '-r', *options_of(commands), 'a.qcow2'))
    after = os.stat('a.qcow2')
    equal((before.st_mtime_ns, before.st_ctime_ns), (after.st_mtime_ns, after.st_ctime_ns))


@test
def test_thrown_away():
    """io -s: the file is not touched, and nothing is left beside it or where temporary files are"""
    make_chain()
    os.mkdir('temporary')
    before = os.stat('a.qcow2')
    good(IMAGO, 'io', '-s', *options_of(['write -P 9 0 1M', 'read -P 9 0 1M', 'flush']), 'a.qcow2', env={'TMPDIR': 'temporary'})
    after = os.stat('a.qcow2')
    equal((before.st_mtime_ns, before.st_ctime_ns), (after.st_mtime_ns, after.st_ctime_ns))
    equal(os.listdir('temporary'), [])
    assert_fails(imago('io', '-s', '-c', 'length', 'a.qcow2', env={'TMPDIR': 'missing'}), 'temporary file')


@test
def test_copy_on_read():
    """io -C: what cannot be read is not copied; with -r it is refused"""
    create('below.qcow2', '1M')
    qemu_io('below.qcow2', ['write -c -P 3 0 64k', 'write -P 4 64k 64k'])
    create('above.qcow2', '1M', backing=('below.qcow2', 'qcow2'))
    with open('below.qcow2', 'r+b') as file:
        place = 40
        for _ in range(3):  # the header, the L1 table, the L2 table: each begins with where the next one is
            file.seek(place)
            place = int.from_bytes(file.read(8), 'big') & ((1 << 54) - 1)
        file.seek(place)
        file.write(b'\xff' * 64)
    commands = ['read 0 512', 'aio_read 0 512', 'aio_flush', 'read -P 4 64k 512', 'map']
    result = run(IMAGO, 'io', '-C', *options_of(commands), 'above.qcow2')
    equal(result.status, 1)
    assert 'read failed: ' in result.out and 'readv failed: ' in result.out, result.out
    equal(result.out.splitlines()[-3:], ['64 KiB (0x10000) bytes not allocated at offset 0 bytes (0x0)',
                                         '64 KiB (0x10000) bytes     allocated at offset 64 KiB (0x10000)',
                                         '896 KiB (0xe0000) bytes not allocated at offset 128 KiB (0x20000)'])
    same_result(run(IMAGO, 'io', '-C', '-r', '-c', 'length', 'above.qcow2'),
                run('qemu-io', '-C', '-r', '-c', 'length', 'above.qcow2'))


@test
def test_open_modes():
    """with -r all is opened for reading, without it no file but the image itself is opened for writing"""
    make_chain()
    can_strace()
    for options, flag in [(['-r', '-c', 'read 0 1M'], 'O_RDONLY'), (['-c', 'read 0 1M'], 'O_RDWR')]:
        good('strace', '-f', '-qq', '-e', 'trace=open,openat,openat2', '-o', 'trace', IMAGO, 'io', *options, 'a.qcow2')
        with open('trace') as file:
            opened = [line for line in file if 'a.qcow2' in line or 'base.raw' in line]
        assert len(opened) >= 2, opened
        for line in opened:
            assert ('O_RDONLY' if 'base.raw' in line else flag) in line, line


@test
def test_guess():
    """an image is written as what it looks like only if its suffix says the same"""
    create('a.qcow2', '1M')
    shutil.copyfile('a.qcow2', 'a.disk')
    shutil.copyfile('a.qcow2', 'a.raw')
    create('b.raw', '1M', 'raw')
    shutil.copyfile('b.raw', 'b.disk')
    shutil.copyfile('b.raw', 'b.qcow2')
    for name in ['a.qcow2', 'b.raw']:
        good(IMAGO, 'io', '-c', 'write 0 512', name)
    for name, format in [('a.disk', 'qcow2'), ('a.raw', 'qcow2'), ('b.disk', 'raw'), ('b.qcow2', 'raw')]:
        before = os.stat(name)
        for args in [('io', '-c', 'write 0 512', name), ('resize', name, '2M')]:
            assert_fails(imago(*args), '-f %s' % format)
        equal(before.st_mtime_ns, os.stat(name).st_mtime_ns)
        good(IMAGO, 'io', '-r', '-c', 'read 0 512', name)
        good(IMAGO, 'io', '-f', format, '-c', 'write 0 512', name)
        good(IMAGO, 'resize', '-f', format, name, '2M')


# ---- io: asynchronous requests ----

@test
def test_aio():
    """aio_read, aio_write and aio_flush as in qemu-io"""
    make_chain()
    for commands in [['aio_write 0 512', 'aio_flush'], ['aio_write -P 5 0 512 512', 'aio_flush', 'aio_read -P 5 0 1k'],
                     ['aio_read -P 6 64k 1k', 'aio_flush'], ['aio_write -q 0 512', 'aio_flush'], ['aio_write -C 0 512'],
                     ['aio_write -z 0 64k', 'aio_flush'], ['aio_write -zu 0 64k'], ['aio_write -zP 4 0 512', 'aio_flush'],
                     ['aio_write -i 0 512', 'aio_read -i 0 20'], ['aio_read -v 64k 20', 'aio_flush'],
                     ['aio_read -vq 0 20', 'aio_flush'], ['aio_write -f 0 512', 'aio_flush'], ['aio_read -C 0 20'],
                     ['aio_write 3 7', 'aio_flush', 'read -v 0 16'], ['aio_write 0 0', 'aio_flush'], ['aio_flush']]:
        both('a.qcow2', *commands)
    for commands in [['aio_write 8M 512', 'aio_flush', 'length'], ['aio_read 8M 512', 'aio_flush'], ['aio_write -z 0 4G']]:
        both('a.qcow2', *commands, same_out=False)
    result = good(IMAGO, 'io', '-c', 'aio_write 8M 512', '-c', 'aio_read 8M 512', 'a.qcow2')
    equal(sorted(line.split(' failed: ')[0] for line in result.out.splitlines()), ['aio_write', 'readv'])


@test
def test_aio_many():
    """many asynchronous requests end before the program, and all of them count"""
    create('a.qcow2', '8M')
    commands = ['aio_write -q -P %d %dk 64k' % (i % 250 + 1, 64 * i) for i in range(128)]
    good(IMAGO, 'io', *options_of(commands), 'a.qcow2')
    qemu_io('a.qcow2', ['read -P %d %dk 64k' % (i % 250 + 1, 64 * i) for i in range(128)], '-r')
    good('qemu-img', 'check', '-q', 'a.qcow2')


# ---- io: discard, flush, truncate ----

@test
def test_discard():
    """discard gives space back, and reads as with qemu-io"""
    make_chain()
    for commands in [['discard 0 1M'], ['discard 64k 64k'], ['discard 60k 200k'], ['discard 65k 10'],
                     ['write -P 9 0 1M', 'discard 128k 512k', 'read -P 0 128k 512k']]:
        both('a.qcow2', *commands)
    create('big.qcow2', '16M')
    qemu_io('big.qcow2', ['write -P 1 0 16M'])
    before = os.stat('big.qcow2').st_blocks
    good(IMAGO, 'io', '-d', 'ignore', '-c', 'discard 0 16M', '-c', 'read -P 1 0 16M', 'big.qcow2')
    good(IMAGO, 'io', '-c', 'discard 0 16M', '-c', 'read -P 0 0 16M', 'big.qcow2')
    assert os.stat('big.qcow2').st_blocks < before / 2, (before, os.stat('big.qcow2').st_blocks)
    good('qemu-img', 'check', '-q', 'big.qcow2')


@test
def test_truncate():
    """truncate as in qemu-io"""
    make_chain()
    create('plain.qcow2', '1M')
    qemu_io('plain.qcow2', ['write -P 1 0 1M'])
    for commands in [['truncate 2M', 'length', 'read -P 0 1M 1M'], ['truncate 512k', 'length', 'truncate 1M', 'length'],
                     ['truncate -m metadata 3M', 'length'], ['truncate -m full 1536k', 'map'], ['truncate -m off 3M', 'map'],
                     ['truncate -m falloc 3M', 'read -P 0 1M 2M'], ['truncate 1000', 'length'], ['truncate 0', 'length']]:
        both('plain.qcow2', *commands)
    for commands in [['truncate 2M', 'length', 'read -P 0 1M 1M'], ['truncate 512k', 'length']]:
        both('a.qcow2', *commands)


@test
def test_raw():
    """raw images are changed as by qemu-io"""
    create('a.raw', '1M', 'raw')
    qemu_io('a.raw', ['write -P 1 0 1M'], '-f', 'raw')
    for commands in [['write -P 2 3 70000'], ['write -z 3 70000'], ['write -zu 64k 128k'], ['truncate 2M', 'length'],
                     ['truncate 64k', 'length'], ['truncate -m full 2M'], ['aio_write -P 4 0 1M', 'aio_flush'],
                     ['writev -P 5 100 1000 1000']]:
        both('a.raw', *commands, format='raw')
    both('a.raw', 'write -c 0 64k', format='raw', same_out=False)


@test
def test_writes_through():
    """-t writethrough flushes after each change, else the end does"""
    create('a.qcow2', '1M')
    can_strace()
    counts = []
    for options in [(), ('-t', 'writethrough')]:
        good('strace', '-f', '-qq', '-e', 'trace=fsync,fdatasync', '-o', 'trace', IMAGO, 'io', *options,
             *options_of(['write 0 512'] * 10), 'a.qcow2')
        with open('trace') as file:
            counts.append(sum('sync(' in line for line in file))
    diagnose('flushes at the end and after each change: %r' % counts)
    assert 1 <= counts[0] < 10 <= counts[1], counts


@test
def test_session():
    """what was written before a mistake or without a flush is there"""
    create('a.qcow2', '1M')
    equal(imago('io', '-c', 'write -P 3 0 64k', '-c', 'bogus', '-c', 'write -P 4 64k 64k', 'a.qcow2').status, 1)
    result = good(IMAGO, 'io', 'a.qcow2', stdin='write -P 5 128k 64k\naio_write -P 6 192k 64k\nquit\nwrite 0 1M\n')
    assert result.out.startswith('imago> wrote 65536/65536 bytes at offset 131072\n64 KiB, 1 ops; '), result
    qemu_io('a.qcow2', ['read -P 3 0 64k', 'read -P 4 64k 64k', 'read -P 5 128k 64k', 'read -P 6 192k 64k'], '-r')
    good('qemu-img', 'check', '-q', 'a.qcow2')


@test
def test_help():
    """help knows the commands that write"""
    result = good(IMAGO, 'io', '-c', 'help')
    for command in ['aio_flush', 'aio_read', 'aio_write', 'discard', 'flush', 'truncate', 'write', 'writev']:
        mine = good(IMAGO, 'io', '-c', 'help ' + command).out.splitlines()[0]
        equal(mine, good('qemu-io', '-c', 'help ' + command).out.splitlines()[0])
        assert mine in result.out.splitlines(), mine


@test
def test_damaged():
    """an image that is marked as damaged is not written, one that was not closed is put in order first"""
    create('a.qcow2', '1M', options='lazy_refcounts=on')
    poke('a.qcow2', 79, b'\x02')
    assert_fails(imago('io', '-c', 'write 0 512', 'a.qcow2'), 'corrupt')
    good(IMAGO, 'io', '-r', '-c', 'read 0 512', 'a.qcow2')
    create('b.qcow2', '1M', options='lazy_refcounts=on')
    poke('b.qcow2', 79, b'\x01')
    good(IMAGO, 'io', '-r', '-c', 'read 0 512', 'b.qcow2')
    assert good('qemu-img', 'info', '-U', '--output=json', 'b.qcow2').json()['dirty-flag']
    both('b.qcow2', 'write -P 5 0 512', 'read -P 5 0 512')
    assert not good('qemu-img', 'info', '-U', '--output=json', 'mine-b.qcow2').json()['dirty-flag']


# ---- in turns ----

def random_commands(seed, size):
    """Writes of all kinds; the order of reads and writes is that of the commands."""
    source = random.Random(seed)
    commands = []
    for _ in range(30):
        offset = source.randrange(size)
        length = source.choice([source.randrange(1, 2000), source.randrange(1, 300000), 65536, 512])
        length = min(length, size - offset)
        kind = source.random()
        if kind < 0.5:
            commands.append('write -q -P %d %d %d' % (source.randrange(1, 255), offset, length))
        elif kind < 0.65:
            commands.append('write -q -z %d %d' % (offset, length))
        elif kind < 0.75:
            commands.append('write -q -z -u %d %d' % (offset, length))
        elif kind < 0.9:
            commands.append('discard -q %d %d' % (offset, length))
        else:
            commands.append('flush')
    return commands


def add_random(title, options, backing=False):
    def check():
        if backing:
            make_chain()
            create('d.qcow2', '4M', options=options, backing=('a.qcow2', 'qcow2'))
        else:
            create('d.qcow2', '4M', options=options)
        mine, theirs = copies('d.qcow2')
        for seed in range(5):
            commands = random_commands(seed, 4 << 20)
            # qemu-io and imago take turns on both images.
            first, second = (mine, theirs) if seed % 2 == 0 else (theirs, mine)
            qemu_io(second, commands)
            good(IMAGO, 'io', *options_of(commands), first)
            good('qemu-img', 'compare', '-q', mine, theirs)
            good('qemu-img', 'check', '-q', mine)
            good('qemu-img', 'check', '-q', theirs)
    add_test('the same random commands: ' + title, check)


add_random('defaults', 'compat=1.1')
add_random('on a backing file', 'compat=1.1', backing=True)
add_random('small clusters', 'cluster_size=512')
add_random('small clusters on a backing file', 'cluster_size=4096', backing=True)
add_random('subclusters', 'extended_l2=on,cluster_size=65536', backing=True)
add_random('narrow reference counts', 'refcount_bits=1')
add_random('lazy reference counts', 'lazy_refcounts=on')
add_random('version 2', 'compat=0.10')


# ---- resize ----

def resize_both(name, *args, same_err=True, judge=True):
    mine, theirs = copies(name)
    result = run(IMAGO, 'resize', *[mine if arg == 'FILE' else arg for arg in args])
    same_result(result, run('qemu-img', 'resize', *[theirs if arg == 'FILE' else arg for arg in args]), same_err=same_err)
    if judge:
        same_disk(mine, theirs)
    return result


@test
def test_resize():
    """resize as qemu-img: texts, exit codes and what the disk holds"""
    make_chain()
    create('plain.qcow2', '1M')
    qemu_io('plain.qcow2', ['write -P 1 0 1M'])
    for args in [('FILE', '2M'), ('FILE', '+64k'), ('-f', 'qcow2', 'FILE', '+64k'), ('-q', 'FILE', '+64k'), ('FILE', '+0'),
                 ('FILE', '1M'), ('--shrink', 'FILE', '512k'), ('--shrink', 'FILE', '-512k'), ('--shrink', 'FILE', '+512k'),
                 ('FILE', '1.5M'), ('FILE', '1k'), ('FILE', '--', '-1k'), ('FILE', '-1k'), ('FILE', '+1000'),
                 ('--shrink', 'FILE', '-1000'), ('--shrink', 'FILE', '-100M'), ('--shrink', 'FILE', '0'), ('FILE', '0'),
                 ('--preallocation=full', '--shrink', 'FILE', '512k'), ('--preallocation=metadata', 'FILE', '2M'),
                 ('--preallocation=full', 'FILE', '2M'), ('--preallocation=falloc', 'FILE', '+1M'),
                 ('--preallocation', 'off', 'FILE', '+1M'), ('--preallocation=bogus', 'FILE', '2M'), ('FILE', '+1T'),
                 ('-q', 'FILE', '1k')]:
        resize_both('plain.qcow2', *args)
    for args in [('FILE', '2M'), ('--shrink', 'FILE', '512k'), ('FILE', '+1G')]:
        resize_both('a.qcow2', *args)


@test
def test_resize_usage():
    """resize: mistakes in the command line as in qemu-img"""
    create('plain.qcow2', '1M')
    for size in ['abc', '5x', '+', '+1kk', '', '1 M', '-']:
        resize_both('plain.qcow2', 'FILE', size)
    for args in [('FILE',), (), ('FILE', '5', '6'), ('--bogus', 'FILE', '1M'), ('FILE', '+1M', '--shrink'),
                 ('nofile', '5M'), ('-f', 'bogus', 'FILE', '1M')]:
        assert_fails(resize_both('plain.qcow2', *args, same_err=False))
    assert_fails(imago('resize', 'nofile.qcow2', '5M'), 'nofile.qcow2', 'No such file')
    assert not os.path.exists('nofile.qcow2')


@test
def test_resize_raw():
    """resize of raw images"""
    create('a.raw', '1M', 'raw')
    qemu_io('a.raw', ['write -P 1 0 1M'], '-f', 'raw')
    for args in [('FILE', '2M'), ('--shrink', 'FILE', '512k'), ('FILE', '512k'), ('--preallocation=full', 'FILE', '2M'),
                 ('--preallocation=falloc', 'FILE', '2M')]:
        mine, theirs = copies('a.raw')
        options = ('-f', 'raw')
        same_result(run(IMAGO, 'resize', *options, *[mine if arg == 'FILE' else arg for arg in args]),
                    run('qemu-img', 'resize', *options, *[theirs if arg == 'FILE' else arg for arg in args]))
        good('cmp', mine, theirs)
    assert_fails(imago('resize', '-f', 'raw', '--preallocation=metadata', 'a.raw', '2M'))
    equal(os.path.getsize('a.raw'), 1 << 20)
    equal(qemu_img('resize', '-f', 'raw', '--preallocation=metadata', 'a.raw', '2M').status, 1)


@test
def test_resize_snapshots():
    """an image with snapshots grows, and its snapshots stay as they were"""
    create('s.qcow2', '1M')
    qemu_io('s.qcow2', ['write -P 1 0 1M'])
    good('qemu-img', 'snapshot', '-c', 'before', 's.qcow2')
    qemu_io('s.qcow2', ['write -P 2 0 512k'])
    good(IMAGO, 'resize', 's.qcow2', '2M')
    good('qemu-img', 'check', '-q', 's.qcow2')
    qemu_io('s.qcow2', ['read -P 2 0 512k', 'read -P 1 512k 512k', 'read -P 0 1M 1M'], '-r')
    good('qemu-img', 'convert', '-l', 'before', '-O', 'raw', 's.qcow2', 'before.raw')
    qemu_io('before.raw', ['read -P 1 0 1M'], '-r', '-f', 'raw')


@test
def test_resize_large_tables():
    """a table of more clusters than lie between two refcount blocks: the file grows by little more than that"""
    for cluster_size, refcount_bits, size in [(512, 16, '1G'), (512, 64, '20G'), (1024, 64, '40G'), (512, 1, '20G')]:
        create('t.qcow2', '100k', options='cluster_size=%d,refcount_bits=%d' % (cluster_size, refcount_bits))
        qemu_io('t.qcow2', ['write -P 1 10k 20k'])
        good(IMAGO, 'resize', 't.qcow2', size)
        good('qemu-img', 'check', '-q', 't.qcow2')
        assert os.stat('t.qcow2').st_blocks < 32 << 11
        good(IMAGO, 'io', '-c', 'read -P 1 10k 20k', '-c', 'write -P 2 500M 100k', 't.qcow2')
        qemu_io('t.qcow2', ['read -P 1 10k 20k', 'read -P 2 500M 100k', 'write -P 3 300M 100k'])
        good('qemu-img', 'check', '-q', 't.qcow2')


@test
def test_resize_progress():
    """resize -p counts what is prepared to the end; -q leaves it out"""
    create('p.qcow2', '1M')
    counts = [float(found) for found in re.findall(r'\((\d+\.\d\d)/100%\)',
                                                   good(IMAGO, 'resize', '-p', '--preallocation=metadata', 'p.qcow2', '1G').out)]
    assert counts and counts == sorted(counts) and counts[-1] == 100, counts
    good('qemu-img', 'check', '-q', 'p.qcow2')
    equal(good(IMAGO, 'resize', '-p', '-q', '--shrink', 'p.qcow2', '1M').out, '')


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
