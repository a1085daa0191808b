# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The command check: output and exit status are those of qemu-img check."""

import re
import shutil
import struct
import subprocess

from imagotest import IMAGO, assert_fails, create, equal, good, imago, main, poke, qemu_img, qemu_io, run, test, \
    without_later_keys


def refcount_place(name, cluster):
    """Where the 16 bit refcount of a cluster of the first block stands."""
    with open(name, 'rb') as file:
        file.seek(48)
        file.seek(struct.unpack('>Q', file.read(8))[0])
        return struct.unpack('>Q', file.read(8))[0] + 2 * cluster


def set_refcount(name, cluster, refcount):
    poke(name, refcount_place(name, cluster), struct.pack('>H', refcount))


def make(name='a.qcow2'):
    create(name, '1M')
    qemu_io(name, ['write 0 192k'])
    return name


def make_leaking():
    name = make('leaking.qcow2')
    size = 9 * 65536
    with open(name, 'r+b') as file:
        file.truncate(size)
    set_refcount(name, size // 65536 - 1, 1)
    return name


def make_corrupt():
    name = make('corrupt.qcow2')
    set_refcount(name, 5, 2)
    set_refcount(name, 6, 0)
    return name


def same(name, status, *options):
    """Both print and return the same; what they say of each cluster is their own."""
    for output in ([], ['--output=human'], ['--output=json'], ['-q']):
        ours, theirs = imago('check', *output, *options, name), qemu_img('check', *output, *options, name)
        equal((ours.status, theirs.status), (status, status), '%s\n%s' % (ours, theirs))
        if output == ['--output=json']:
            equal(without_later_keys(ours.json()), without_later_keys(theirs.json()))
        else:
            equal(ours.out, theirs.out)
        equal(bool(ours.err), bool(theirs.err), '%s\n%s' % (ours, theirs))


@test
def test_force_share():
    """while somebody writes, only -U checks"""
    make()
    process = subprocess.Popen([IMAGO, 'io', '-f', 'qcow2', 'a.qcow2'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(b'length\n')
        process.stdin.flush()
        line = process.stdout.readline()
        assert b'1 MiB' in line, line
        same('a.qcow2', 0, '-U')
        assert_fails(imago('check', 'a.qcow2'), 'is in use')
        assert_fails(qemu_img('check', 'a.qcow2'), 'lock')
    finally:
        process.communicate()
    equal(process.returncode, 0)
    same('a.qcow2', 0)


@test
def test_sound():
    """an image without errors: 0"""
    same(make(), 0)
    same('a.qcow2', 0, '-f', 'qcow2')
    same('a.qcow2', 0, '-U')
    same(create('nothing.qcow2', '0'), 0)
    same(create('empty.qcow2', '1G'), 0)
    create('compressed.qcow2', '1M')
    qemu_io('compressed.qcow2', ['write -c 0 64k', 'write 128k 64k', 'write 512k 64k'])
    same('compressed.qcow2', 0)


@test
def test_leaks():
    """an image that only wastes space: 3"""
    same(make_leaking(), 3)
    assert 'refcount=1 reference=0' in imago('check', '-q', 'leaking.qcow2').err


@test
def test_corruptions():
    """an image with errors: 2, with leaks or without"""
    same(make_corrupt(), 2)


@test
def test_many():
    """thousands of findings are counted, a thousand is printed"""
    create('many.qcow2', '1M', options='cluster_size=4k')
    with open('many.qcow2', 'r+b') as file:
        file.truncate(2048 * 4096)
    for cluster in range(100, 1600):
        set_refcount('many.qcow2', cluster, 1)
    result = imago('check', '--output=json', 'many.qcow2')
    equal(result.status, 3, str(result))
    equal(result.json()['leaks'], 1500)
    lines = result.err.splitlines()
    equal((len(lines), lines[-1]), (1001, 'and 500 more'))


def percents(*args, status=0):
    result = imago('check', *args)
    equal(result.status, status, str(result))
    counts = [float(found) for found in re.findall(r'\((\d+\.\d\d)/100%\)', result.out)]
    assert counts == sorted(counts), counts
    return counts


@test
def test_progress():
    """-p counts to the end, on disks of all kinds; -q and JSON leave it out"""
    for options in ('cluster_size=512', 'compat=0.10', 'extended_l2=on', 'refcount_bits=1', 'data_file=d.raw'):
        create('p.qcow2', '16M', options=options)
        qemu_io('p.qcow2', ['write 0 4M', 'write 8M 64k'])
        for repair in ([], ['-r', 'leaks'], ['-r', 'all']):
            equal(percents('-p', *repair, 'p.qcow2')[-1], 100)
    equal(percents('-p', make_leaking(), status=3)[-1], 100)
    equal(percents('-p', '-r', 'leaks', make_leaking())[-1], 100)
    equal(percents('-p', '-r', 'all', make_corrupt())[-1], 100)
    equal(percents('-p', '-q', 'p.qcow2'), [])
    assert imago('check', '-p', '--output=json', 'p.qcow2').json()
    equal(percents('p.qcow2'), [])


def clear_copied(name):
    """COPIED goes from the first L1 entry and from two entries of the L2 table that it names."""
    with open(name, 'r+b') as file:
        def change(place):
            file.seek(place)
            entry = struct.unpack('>Q', file.read(8))[0] & ~(1 << 63)
            file.seek(place)
            file.write(struct.pack('>Q', entry))
            return entry

        file.seek(40)
        table = change(struct.unpack('>Q', file.read(8))[0])
        for index in (0, 2):
            change(table + 8 * index)


@test
def test_repair_texts():
    """COPIED flags that are repaired are named as by qemu-img"""
    create('mine.qcow2', '4M')
    qemu_io('mine.qcow2', ['write 0 256k'])
    clear_copied('mine.qcow2')
    shutil.copyfile('mine.qcow2', 'theirs.qcow2')
    ours, theirs = imago('check', '-r', 'all', 'mine.qcow2'), qemu_img('check', '-r', 'all', 'theirs.qcow2')
    equal((ours.status, ours.out, ours.err), (theirs.status, theirs.out, theirs.err))
    equal(len(re.findall('^Repairing OFLAG_COPIED', ours.err, re.M)), 3)


@test
def test_references_stay_closed():
    """neither a backing file nor a data file is opened, even a missing one"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', backing=('base.raw', 'raw'))
    create('d.qcow2', '1M', options='data_file=d.raw')
    same('a.qcow2', 0)
    good('rm', 'base.raw', 'd.raw')
    equal(imago('check', 'a.qcow2').status, 0)
    equal(imago('check', 'd.qcow2').status, 0)


@test
def test_marked():
    """an image that is marked as corrupt can be checked"""
    make()
    poke('a.qcow2', 72, struct.pack('>Q', 2))
    result = imago('check', 'a.qcow2')
    equal(result.status, qemu_img('check', 'a.qcow2').status, str(result))


def first_entry(name):
    """Where the first entry of the first L2 table stands: its first byte has the COPIED flag and nothing else."""
    with open(name, 'rb') as file:
        file.seek(40)
        file.seek(struct.unpack('>Q', file.read(8))[0])
        return struct.unpack('>Q', file.read(8))[0] & 0x00fffffffffffe00


def repaired_alike(name, repair, status):
    """Both repair a copy, and say the same of it."""
    for output in ([], ['--output=json']):
        for copy in ('mine.qcow2', 'theirs.qcow2'):
            shutil.copy(name, copy)
        ours = imago('check', *output, '-r', repair, 'mine.qcow2')
        theirs = qemu_img('check', *output, '-r', repair, 'theirs.qcow2')
        equal((ours.status, theirs.status), (status, status), '%s\n%s' % (ours, theirs))
        if output:
            mine, other = (without_later_keys(result.json()) for result in (ours, theirs))
            equal(dict(mine, filename=''), dict(other, filename=''))
        else:
            equal(ours.out, theirs.out)
        equal(qemu_img('check', 'mine.qcow2').status, 0)


@test
def test_repair():
    """leaks and errors are repaired, and the result is that of qemu-img"""
    repaired_alike(make_leaking(), 'leaks', 0)
    repaired_alike('leaking.qcow2', 'all', 0)
    make()
    poke('a.qcow2', first_entry('a.qcow2'), b'\x00')
    repaired_alike('a.qcow2', 'all', 0)
    repaired_alike(make(), 'all', 0)


@test
def test_repair_leaks_only():
    """with -r leaks errors stay"""
    make_corrupt()
    shutil.copy('corrupt.qcow2', 'before.qcow2')
    result = imago('check', '-r', 'leaks', 'corrupt.qcow2')
    equal(result.status, 2, str(result))
    equal(qemu_img('check', 'corrupt.qcow2').status, 2)
    good(IMAGO, 'check', '-r', 'all', 'corrupt.qcow2')
    good('qemu-img', 'check', 'corrupt.qcow2')


@test
def test_repair_unsure():
    """what only looks like an image is checked and not repaired"""
    make('a.unknown')
    good(IMAGO, 'check', 'a.unknown')
    assert_fails(imago('check', '-r', 'all', 'a.unknown'), '-f qcow2')
    good(IMAGO, 'check', '-r', 'all', '-f', 'qcow2', 'a.unknown')


@test
def test_repair_marks():
    """marks that an image is corrupt, or was not closed, go when it is sound"""
    make()
    poke('a.qcow2', 72, struct.pack('>Q', 3))
    good(IMAGO, 'check', 'a.qcow2')
    good(IMAGO, 'check', '-r', 'all', 'a.qcow2')
    info = good('qemu-img', 'info', '--output=json', 'a.qcow2').json()
    equal((info['dirty-flag'], info['format-specific']['data']['corrupt']), (False, False))


@test
def test_no_checks():
    """a format without checks: 63"""
    create('a.raw', '1M', 'raw')
    for options in ([], ['-f', 'raw'], ['--output=json']):
        result = imago('check', *options, 'a.raw')
        assert_fails(result, 'This image format does not support checks', status=63)
        equal(qemu_img('check', *options, 'a.raw').status, 63)
        equal(result.out, '')


@test
def test_refused():
    """what cannot be checked, and mistakes in the command line: 1"""
    make()
    create('a.raw', '1M', 'raw')
    for arguments in (['missing'], ['-f', 'qcow2', 'a.raw'], ['-f', 'bogus', 'a.qcow2'], [], ['a.qcow2', 'a.qcow2'],
                      ['--output=bogus', 'a.qcow2'], ['--bogus', 'a.qcow2'], ['-r', 'bogus', 'a.qcow2']):
        result = imago('check', *arguments)
        equal((result.status, result.out), (1, ''), str(result))
        assert_fails(result)
    assert 'Usage' in good(IMAGO, 'check', '--help').out
    assert 'check' in good(IMAGO, '--help').out


@test
def test_full_disk():
    """an answer that got lost is a failure"""
    make()
    result = run('sh', '-c', '"$0" check a.qcow2 > /dev/full', IMAGO)
    equal(result.status, 1, str(result))


main(needs=['qemu-img', 'qemu-io'])
