# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago compact: what is given back, with qemu-img and qemu-io as witnesses of what stays."""

import os
import random
import re
import shutil

from imagotest import IMAGO, assert_fails, create, equal, good, main, qemu_io, run, same_content, test

MIB = 1024 * 1024  # a little less may be given back: tables can take a cluster more


def usage(name):
    return os.stat(name).st_blocks * 512


def compact(name, *options):
    """The bytes that it says were given back."""
    out = good(IMAGO, 'compact', '-f', 'qcow2', *options, name).out
    match = re.fullmatch(r'(\d+) bytes were given back.\n', out)
    assert match, out
    return int(match.group(1))


def raw_copy(name, *options):
    copy = name + ('.'.join(options) + '.raw').replace('/', '')
    good('qemu-img', 'convert', '-O', 'raw', *options, name, copy)
    return copy


@test
def test_zeroes_and_free():
    """zeroes, and clusters that a deleted snapshot left filled, are given back; qemu-img sees the same disk"""
    create('a.qcow2', '16M')
    qemu_io('a.qcow2', ['write -P 1 0 4M', 'write -P 0 4M 4M', 'write -P 2 8M 4M'])
    good('qemu-img', 'snapshot', '-c', 'one', 'a.qcow2')
    qemu_io('a.qcow2', ['write -P 3 8M 4M'])
    good('qemu-img', 'snapshot', '-d', 'one', 'a.qcow2')
    before, size, filled = raw_copy('a.qcow2'), os.path.getsize('a.qcow2'), usage('a.qcow2')
    freed = compact('a.qcow2')
    assert freed >= 4 * MIB and usage('a.qcow2') <= filled - 4 * MIB, (freed, filled, usage('a.qcow2'))
    assert os.path.getsize('a.qcow2') <= size
    good('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', before, 'a.qcow2')
    good('qemu-img', 'check', '-q', 'a.qcow2')
    equal(compact('a.qcow2'), 0)


@test
def test_tail():
    """free clusters at the end are cut off, and the image grows again afterwards"""
    create('t.qcow2', '16M')
    qemu_io('t.qcow2', ['write -P 1 0 1M'])
    good('qemu-img', 'snapshot', '-c', 'one', 't.qcow2')
    qemu_io('t.qcow2', ['write -P 2 8M 6M', 'discard 8M 6M'], '-d', 'ignore')
    size = os.path.getsize('t.qcow2')
    assert size >= 7 * MIB, size
    compact('t.qcow2')
    qemu_io('t.qcow2', ['read -P 1 0 1M', 'read -P 0 8M 6M'] if os.path.getsize('t.qcow2') < size else ['read -P 1 0 1M'])
    qemu_io('t.qcow2', ['write -P 4 2M 3M', 'read -P 4 2M 3M', 'read -P 1 0 1M'])
    good('qemu-img', 'check', '-q', 't.qcow2')


@test
def test_snapshots():
    """snapshots keep what they hold, also zeroes that the active disk gives up"""
    create('s.qcow2', '8M')
    qemu_io('s.qcow2', ['write -P 0 0 2M', 'write -P 1 2M 2M'])
    good('qemu-img', 'snapshot', '-c', 'old', 's.qcow2')
    qemu_io('s.qcow2', ['write -P 0 2M 2M', 'write -P 5 4M 1M'])
    disk, old = raw_copy('s.qcow2'), raw_copy('s.qcow2', '-l', 'old')
    freed = compact('s.qcow2')
    assert freed >= 2 * MIB - 65536, freed
    good('qemu-img', 'check', '-q', 's.qcow2')
    shutil.move(old, 'old.raw')
    shutil.move(disk, 'disk.raw')
    same_content('disk.raw', raw_copy('s.qcow2'))
    same_content('old.raw', raw_copy('s.qcow2', '-l', 'old'))


@test
def test_random():
    """random disks of every kind: the view stays, the metadata is sound, nothing gets larger"""
    rng = random.Random(11)
    kinds = ['cluster_size=4k', 'cluster_size=2M', 'extended_l2=on', 'compat=0.10', 'lazy_refcounts=on',
             'data_file=data.raw', 'data_file=data.raw,data_file_raw=on', 'refcount_bits=1']
    for kind in kinds:
        for name in ['data.raw', 'r.qcow2']:
            if os.path.exists(name):
                os.unlink(name)
        create('r.qcow2', '12M', options=kind)
        commands = []
        for _ in range(60):
            offset = rng.randrange(0, 11 * 256) * 4
            commands.append('write %s -P %d %dk %dk' % (rng.choice(['', '', '']), rng.choice([0, 0, rng.randrange(256)]),
                                                        offset, 4 * rng.randrange(1, 200)))
            if rng.randrange(4) == 0:
                commands.append('discard %dk 512k' % offset)
        qemu_io('r.qcow2', commands)
        before = raw_copy('r.qcow2')
        filled = usage('r.qcow2') + (usage('data.raw') if os.path.exists('data.raw') else 0)
        compact('r.qcow2')
        good('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', before, 'r.qcow2')
        good('qemu-img', 'check', '-q', 'r.qcow2')
        # A punched cluster may need a new table or refcount block, no more.
        left = usage('r.qcow2') + (usage('data.raw') if os.path.exists('data.raw') else 0)
        assert left <= filled + 2 * 65536, (kind, filled, left)


@test
def test_backing():
    """zeroes over a backing file stay zeroes"""
    create('base.qcow2', '4M')
    qemu_io('base.qcow2', ['write -P 9 0 4M'])
    for compat in ['1.1', '0.10']:
        create('over.qcow2', options='compat=' + compat, backing=('base.qcow2', 'qcow2'))
        qemu_io('over.qcow2', ['write -P 0 0 1M', 'write -P 3 1M 64k'])
        freed = compact('over.qcow2')
        assert (freed >= MIB - 65536) == (compat == '1.1'), freed
        qemu_io('over.qcow2', ['read -P 0 0 1M', 'read -P 3 1M 64k', 'read -P 9 1088k 2M'], '-r')
        good('qemu-img', 'check', '-q', 'over.qcow2')


@test
def test_bitmaps():
    """an image with bitmaps is refused by their names, and stays as it is, unless they may be lost"""
    create('b.qcow2', '4M')
    good('qemu-img', 'bitmap', '--add', 'b.qcow2', 'first')
    good('qemu-img', 'bitmap', '--add', 'b.qcow2', 'second')
    qemu_io('b.qcow2', ['write -P 0 0 1M'])
    with open('b.qcow2', 'rb') as file:
        before = file.read()
    assert_fails(run(IMAGO, 'compact', 'b.qcow2'), '“first”, “second”')
    with open('b.qcow2', 'rb') as file:
        equal(file.read() == before, True)
    assert compact('b.qcow2', '--lose-bitmaps') >= MIB - 65536
    qemu_io('b.qcow2', ['read -P 0 0 1M'], '-r')


@test
def test_raw():
    """a raw disk gets holes"""
    with open('x.raw', 'wb') as file:
        file.write(b'a' * MIB + bytes(4 * MIB) + b'b' * 1000)
    shutil.copyfile('x.raw', 'y.raw')
    good(IMAGO, 'compact', '-q', '-f', 'raw', 'x.raw')
    same_content('x.raw', 'y.raw')
    assert usage('x.raw') < 2 * MIB, usage('x.raw')


@test
def test_command():
    """progress, and mistakes in the command line"""
    create('p.qcow2', '16M')
    qemu_io('p.qcow2', ['write -P 0 0 16M'])
    counts = [float(found) for found in re.findall(r'\((\d+\.\d\d)/100%\)', good(IMAGO, 'compact', '-p', 'p.qcow2').out)]
    assert counts and counts == sorted(counts) and counts[-1] == 100, counts
    equal(good(IMAGO, 'compact', '-q', 'p.qcow2').out, '')
    for args in [(), ('p.qcow2', 'p.qcow2')]:
        assert_fails(run(IMAGO, 'compact', *args))
    assert_fails(run(IMAGO, 'compact', 'nofile.qcow2'), 'nofile.qcow2')


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
