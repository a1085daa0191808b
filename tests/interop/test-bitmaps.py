# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Persistent bitmaps: described as qemu-img describes them, and in nobody's way."""

import os
import struct

from imagotest import IMAGO, assert_fails, create, equal, good, imago, main, poke, qemu_io, run, test
from interop import compare_all, compare_info, compare_map

BITMAPS_EXTENSION = b'\x23\x85\x28\x75'


def add(image, name, *options):
    good('qemu-img', 'bitmap', '--add', *options, image, name)


@test
def test_some():
    """bitmaps of several granularities, some not recording"""
    create('a.qcow2', '8M')
    qemu_io('a.qcow2', ['write -P 1 0 64k'])
    for i, granularity in enumerate(['512', '4k', '64k', '1M', '2G']):
        add('a.qcow2', 'bitmap %d' % i, '-g', granularity)
    add('a.qcow2', 'default')
    good('qemu-img', 'bitmap', '--disable', 'a.qcow2', 'bitmap 1')
    compare_all('a.qcow2')
    qemu_io('a.qcow2', ['write -P 2 128k 256k', 'write -z 1M 64k'])
    compare_all('a.qcow2')


@test
def test_clusters():
    """bitmaps in images of other cluster sizes and with other features"""
    for options in ['cluster_size=512', 'cluster_size=2M', 'extended_l2=on', 'data_file=d.raw', 'refcount_bits=64']:
        create('a.qcow2', '4M', options=options)
        add('a.qcow2', 'one')
        add('a.qcow2', 'two', '-g', '32k')
        qemu_io('a.qcow2', ['write -P 2 128k 256k'])
        compare_all('a.qcow2')


@test
def test_in_use():
    """a bitmap that was not closed cleanly"""
    create('a.qcow2', '1M')
    add('a.qcow2', 'one')
    header = open('a.qcow2', 'rb').read(65536)
    extension = header.index(BITMAPS_EXTENSION)
    directory = int.from_bytes(header[extension + 24:extension + 32], 'big')
    # The flags of the first entry: in use, and recording.
    poke('a.qcow2', directory + 12, (3).to_bytes(4, 'big'))
    compare_info('a.qcow2')
    poke('a.qcow2', directory + 12, (1).to_bytes(4, 'big'))
    compare_info('a.qcow2')


@test
def test_stale():
    """bitmaps that are no longer valid are not shown"""
    create('a.qcow2', '1M')
    add('a.qcow2', 'one')
    # The autoclear bit says whether they are.
    poke('a.qcow2', 88, bytes(8))
    mine = compare_info('a.qcow2')
    assert 'bitmaps' not in mine[0]['format-specific']['data'], mine


@test
def test_with_snapshots():
    """bitmaps and snapshots in one image"""
    create('base.raw', '3M', 'raw')
    create('a.qcow2', '2M', backing=('base.raw', 'raw'))
    add('a.qcow2', 'one')
    qemu_io('a.qcow2', ['write -P 2 128k 256k'])
    good('qemu-img', 'snapshot', '-c', 'first', 'a.qcow2')
    qemu_io('a.qcow2', ['write -P 3 200k 256k'])
    add('a.qcow2', 'two')
    compare_all('a.qcow2')


def bits(image):
    """Every bitmap as qemu-img describes it, with its content."""
    found = {}
    for bitmap in good('qemu-img', 'info', '--output=json', image).json()['format-specific']['data'].get('bitmaps', []):
        with open(image, 'rb') as file:
            data = file.read()
        found[bitmap['name']] = (bitmap['granularity'], bitmap['flags'], content(data, bitmap['name']))
    return found


def content(data, name):
    """The bytes of a bitmap, read with nothing but the specification."""
    at = data.index(BITMAPS_EXTENSION)
    count, = struct.unpack_from('>I', data, at + 8)
    entry, = struct.unpack_from('>Q', data, at + 24)
    cluster_size, size = 1 << struct.unpack_from('>I', data, 20)[0], struct.unpack_from('>Q', data, 24)[0]
    for _ in range(count):
        table, n, _flags, _kind, granularity, length, extra = struct.unpack_from('>QIIBBHI', data, entry)
        if data[entry + 24 + extra:entry + 24 + extra + length].decode() == name:
            parts = b''
            for word in struct.unpack_from('>%dQ' % n, data, table):
                parts += data[word:word + cluster_size].ljust(cluster_size, b'\0') if word > 1 else bytes([255 * word]) * cluster_size
            return parts[:(-(-size >> granularity) + 7) // 8]
        entry += (24 + extra + length + 7) & ~7
    raise KeyError(name)


dirty = {}


def make_dirty(options='', name='a.qcow2', **more):
    """Bitmaps with bits in them, one that stopped recording in between, one without any."""
    if options not in dirty or more or 'data_file' in options:
        make_dirty_anew(options, name, **more)
        if not more:
            dirty[options] = open(name, 'rb').read()
        return
    with open(name, 'wb') as file:
        file.write(dirty[options])


def make_dirty_anew(options, name, size='64M', **more):
    create(name, size, options=options, **more)
    add(name, 'fine', '-g', '512')
    add(name, 'coarse', '-g', '1M')
    qemu_io(name, ['write -P 1 0 200k', 'write -P 2 33M 1k'])
    good('qemu-img', 'bitmap', '--disable', name, 'coarse')
    add(name, 'late')
    qemu_io(name, ['write -P 3 40M 3M', 'write -P 4 70k 1k'])
    add(name, 'merged', '-g', '64k')
    good('qemu-img', 'bitmap', '--merge', 'fine', name, 'merged')
    add(name, 'empty', '--disable')


def copy_bitmaps(*options, source='a.qcow2'):
    good(IMAGO, 'convert', '--bitmaps', '-O', 'qcow2', *options, source, 'mine.qcow2')
    equal(bits('mine.qcow2'), bits(source))
    assert_clean('mine.qcow2')
    good('qemu-img', 'compare', source, 'mine.qcow2')


def assert_clean(name):
    good('qemu-img', 'check', '-q', name)
    good(IMAGO, 'check', name)


@test
def test_copy():
    """bitmaps copied between cluster sizes and features are those of the source, and go on recording"""
    make_dirty()
    assert any(any(found[2]) for found in bits('a.qcow2').values())
    for options in ['cluster_size=512', 'cluster_size=2M', 'extended_l2=on', 'lazy_refcounts=on,refcount_bits=1']:
        copy_bitmaps('-o', options)
    copy_bitmaps('-c')
    before = bits('mine.qcow2')
    qemu_io('mine.qcow2', ['write -P 5 20M 1M'])
    after = bits('mine.qcow2')
    assert after['fine'] != before['fine'] and after['coarse'] == before['coarse']
    assert_clean('mine.qcow2')
    for options in ['cluster_size=512', 'data_file=d.raw']:
        make_dirty(options)
        copy_bitmaps()


@test
def test_copy_backing():
    """the bitmaps of the top image only, and a backing file's name gives way to them"""
    make_dirty(name='base.qcow2')
    make_dirty(backing=('base.qcow2', 'qcow2'))
    add('base.qcow2', 'below')
    copy_bitmaps()
    for cluster_size in ['512', '64k']:
        copy_bitmaps('-B', 'base.qcow2', '-F', 'qcow2', '-o', 'cluster_size=' + cluster_size)
        equal(good('qemu-img', 'info', '--output=json', 'mine.qcow2').json()['backing-filename'], 'base.qcow2')


def copy_to_existing(*options, source='a.qcow2'):
    """Both programs copy into the same target; what they come to."""
    good('cp', 'target.qcow2', 'theirs.qcow2')
    good('mv', 'target.qcow2', 'mine.qcow2')
    argv = ['convert', '-n', '--bitmaps', '-O', 'qcow2', *options, source]
    mine, theirs = run(IMAGO, *argv, 'mine.qcow2'), run('qemu-img', *argv, 'theirs.qcow2')
    equal((mine.status, mine.err.replace('imago:', 'qemu-img:')), (theirs.status, theirs.err))
    return theirs.status


@test
def test_copy_existing():
    """bitmaps copied into an image that is there, whatever it is like, as qemu-img does it"""
    make_dirty()
    create('base.raw', '1M', 'raw')
    for options, backing in [('cluster_size=512', ('base.raw', 'raw')), ('cluster_size=2M', None),
                             ('extended_l2=on', ('base.raw', 'raw')), ('lazy_refcounts=on,refcount_bits=1', None), ('data_file=d.raw', None)]:
        create('target.qcow2', '64M', options=options, backing=backing)
        qemu_io('target.qcow2', ['write -q -P 8 0 1M', 'write -q -P 9 32M 3M'])
        equal(copy_to_existing(), 0)
        equal(bits('mine.qcow2'), bits('a.qcow2'))
        if options != 'data_file=d.raw':
            equal(bits('theirs.qcow2'), bits('a.qcow2'))
        assert_clean('mine.qcow2')
        good('qemu-img', 'compare', 'a.qcow2', 'mine.qcow2')
    before = bits('mine.qcow2')
    qemu_io('mine.qcow2', ['write -P 5 20M 1M'])
    assert bits('mine.qcow2')['fine'] != before['fine']
    assert_clean('mine.qcow2')


@test
def test_copy_existing_stale():
    """where a target's bitmaps are not valid any more, those that are copied take their place"""
    make_dirty()
    for backing in [None, ('base.raw', 'raw')]:
        create('base.raw', '1M', 'raw')
        create('mine.qcow2', '64M', options='cluster_size=512', backing=backing)
        add('mine.qcow2', 'fine')
        good(IMAGO, 'io', '-c', 'write -q -P 9 0 64k', 'mine.qcow2')
        equal(bits('mine.qcow2'), {})
        good('qemu-img', 'check', '-q', '-r', 'leaks', 'mine.qcow2')
        good(IMAGO, 'convert', '-n', '--bitmaps', '-O', 'qcow2', 'a.qcow2', 'mine.qcow2')
        equal(bits('mine.qcow2'), bits('a.qcow2'))
        assert_clean('mine.qcow2')
        good('qemu-img', 'compare', 'a.qcow2', 'mine.qcow2')


@test
def test_copy_existing_refused():
    """targets that cannot take the bitmaps, in the words of qemu-img, and without a change where there is no need"""
    make_dirty()
    for size, options, names in [('64M', '', ['merged', 'fine']), ('65M', '', []), ('63M', '', []), ('64M', 'compat=0.10', [])]:
        create('target.qcow2', size, options=options)
        for name in names:
            add('target.qcow2', name)
        before = open('target.qcow2', 'rb').read()
        equal(copy_to_existing(), 1)
        equal(open('mine.qcow2', 'rb').read() == before, True)
    create('flat.raw', '64M', 'raw')
    argv = ['convert', '-n', '--bitmaps', '-O', 'raw', 'a.qcow2', 'flat.raw']
    mine, theirs = run(IMAGO, *argv), run('qemu-img', *argv)
    equal((mine.status, mine.err.replace('imago:', 'qemu-img:')), (theirs.status, theirs.err))


def make_target_with_bitmaps(options):
    """Two that record, one that did, and one that never did."""
    create('target.qcow2', '64M', options=options)
    add('target.qcow2', 'first')
    add('target.qcow2', 'records', '-g', '4k')
    add('target.qcow2', 'recorded')
    qemu_io('target.qcow2', ['write -q -P 8 0 1M', 'write -q -P 9 32M 3M'])
    good('qemu-img', 'bitmap', '--disable', 'target.qcow2', 'recorded')
    add('target.qcow2', 'rests', '--disable')


def leave_open(image):
    """Sets the flag of its first bitmap."""
    data = open(image, 'rb').read()
    directory, = struct.unpack_from('>Q', data, data.index(BITMAPS_EXTENSION) + 24)
    poke(image, directory + 12, struct.pack('>I', struct.unpack_from('>I', data, directory + 12)[0] | 1))


@test
def test_copy_beside():
    """bitmaps copied beside those that a target has: what records says that all has changed, as with qemu-img"""
    make_dirty()
    for options in ['', 'cluster_size=512', 'extended_l2=on', 'lazy_refcounts=on,refcount_bits=1', 'data_file=d.raw']:
        make_target_with_bitmaps(options)
        leave_open('target.qcow2')
        before = bits('target.qcow2')
        equal(copy_to_existing(), 0)
        found = bits('mine.qcow2')
        equal(list(found), list(before) + list(bits('a.qcow2')))
        equal({name: found[name] for name in found if name not in before}, bits('a.qcow2'))
        equal({**before, 'records': None}, {name: found[name] if name != 'records' else None for name in before})
        equal(set(found['records'][2]), {255})
        if options != 'data_file=d.raw':
            theirs = bits('theirs.qcow2')
            equal({**found, 'records': all_set(found['records'])}, {**theirs, 'records': all_set(theirs['records'])})
        assert_clean('mine.qcow2')
        good('qemu-img', 'compare', 'a.qcow2', 'mine.qcow2')
        qemu_io('mine.qcow2', ['write -P 5 20M 1M'])
        assert_clean('mine.qcow2')


def all_set(bitmap):
    """Of one whose bits are all set, whatever follows the last of them."""
    granularity, flags, data = bitmap
    return granularity, flags, {bin(data[i])[2:].zfill(8) for i in range(len(data) - 1)}


@test
def test_copy_beside_nothing():
    """a copy that changes nothing leaves what a target's bitmaps say"""
    create('a.qcow2', '64M')
    add('a.qcow2', 'new')
    make_target_with_bitmaps('')
    good('qemu-img', 'convert', '-O', 'qcow2', '-n', '--target-is-zero', 'a.qcow2', 'target.qcow2')
    before = bits('target.qcow2')
    good(IMAGO, 'convert', '-n', '--target-is-zero', '--bitmaps', '-O', 'qcow2', 'a.qcow2', 'target.qcow2')
    equal(bits('target.qcow2'), {**before, **bits('a.qcow2')})
    assert_clean('target.qcow2')


@test
def test_copy_beside_failed():
    """a copy that fails in the middle leaves the target's bitmaps, saying that all may have changed"""
    create('plain.qcow2', '64M')
    qemu_io('plain.qcow2', ['write -q -P 7 0 32M', 'write -q -P 7 63M 64k'])
    good('qemu-img', 'convert', '-c', '-O', 'qcow2', 'plain.qcow2', 'a.qcow2')
    add('a.qcow2', 'new')
    # The last cluster cannot be decoded.
    l1, = struct.unpack_from('>Q', open('a.qcow2', 'rb').read(), 40)
    l2, = struct.unpack_from('>Q', open('a.qcow2', 'rb').read(), l1)
    packed, = struct.unpack_from('>Q', open('a.qcow2', 'rb').read(), (l2 & ~(1 << 63)) + 8 * (63 << 4))
    poke('a.qcow2', packed & (1 << 54) - 1, b'\xff' * 16)
    make_target_with_bitmaps('')
    before = bits('target.qcow2')
    equal(imago('convert', '-n', '--bitmaps', '-O', 'qcow2', 'a.qcow2', 'target.qcow2').status, 1)
    found = bits('target.qcow2')
    equal({name: found[name] for name in before if name not in ('records', 'first')},
          {name: before[name] for name in before if name not in ('records', 'first')})
    equal(list(found), list(before))
    equal({*found['records'][2], *found['first'][2]}, {255})
    assert_clean('target.qcow2')


@test
def test_copy_beside_damaged():
    """a target that is damaged is left alone: what its bitmaps have is not sure to be theirs"""
    make_dirty()
    make_target_with_bitmaps('')
    data = open('target.qcow2', 'rb').read()
    directory, = struct.unpack_from('>Q', data, data.index(BITMAPS_EXTENSION) + 24)
    table, = struct.unpack_from('>Q', data, directory)
    # A bitmap whose table points to L1, and one with a table that is too long.
    for offset, value, text in [(table, data[40:48], 'damaged'), (directory + 8, b'\0\0\0\2', 'table of bitmap')]:
        with open('damaged.qcow2', 'wb') as file:
            file.write(data)
        poke('damaged.qcow2', offset, value)
        before = open('damaged.qcow2', 'rb').read()
        assert_fails(imago('convert', '-n', '--bitmaps', '-O', 'qcow2', 'a.qcow2', 'damaged.qcow2'), text)
        equal(open('damaged.qcow2', 'rb').read() == before, True)


@test
def test_copy_of_snapshot():
    """the bitmaps of the image come with the disk of a snapshot, as with qemu-img"""
    make_dirty()
    good('qemu-img', 'snapshot', '-c', 'before', 'a.qcow2')
    qemu_io('a.qcow2', ['write -q -P 7 50M 1M'])
    create('target.qcow2', '64M')
    equal(copy_to_existing('-l', 'before'), 0)
    good(IMAGO, 'convert', '--bitmaps', '-l', 'before', '-O', 'qcow2', 'a.qcow2', 'new.qcow2')
    for name in ['new.qcow2', 'mine.qcow2', 'theirs.qcow2']:
        equal(bits(name), bits('a.qcow2'))
        good('qemu-img', 'compare', 'theirs.qcow2', name)
        assert_clean(name)


@test
def test_copy_stale():
    """a change by this library makes copied bitmaps invalid"""
    make_dirty()
    copy_bitmaps()
    good(IMAGO, 'io', '-c', 'write -P 9 0 64k', 'mine.qcow2')
    equal(bits('mine.qcow2'), {})


@test
def test_copy_like_qemu():
    """what is refused, in the words of qemu-img and with its exit codes"""
    make_dirty()
    create('v2.qcow2', '1M', options='compat=0.10')
    create('flat.raw', '1M', 'raw')
    data = open('a.qcow2', 'rb').read()
    directory, = struct.unpack_from('>Q', data, data.index(BITMAPS_EXTENSION) + 24)
    good('cp', 'a.qcow2', 'broken.qcow2')
    poke('broken.qcow2', directory + 15, b'\3')
    for case in [('--bitmaps', '-O', 'raw', 'a.qcow2'), ('--bitmaps', '-O', 'qcow2', '-o', 'compat=0.10', 'a.qcow2'),
                 ('--bitmaps', '-f', 'raw', '-O', 'qcow2', 'flat.raw'), ('--bitmaps', '-O', 'qcow2', 'v2.qcow2'),
                 ('--bitmaps', '-O', 'qcow2', 'a.qcow2', 'a.qcow2'), ('--skip-broken-bitmaps', '-O', 'qcow2', 'a.qcow2'),
                 ('--bitmaps', '-O', 'qcow2', 'broken.qcow2'),
                 ('--bitmaps', '--skip-broken-bitmaps', '-O', 'qcow2', 'broken.qcow2')]:
        mine, theirs = run(IMAGO, 'convert', *case, 'mine.qcow2'), run('qemu-img', 'convert', *case, 'theirs.qcow2')
        equal((mine.status, mine.err.replace('imago:', 'qemu-img:')), (theirs.status, theirs.err))
        assert theirs.status == 0 or not os.path.exists('mine.qcow2')
    equal(bits('mine.qcow2'), bits('theirs.qcow2'))
    assert_fails(imago('convert', '--bitmaps', '-O', 'qcow2', '--length', '1M', 'a.qcow2', 'x'), 'whole disk')


@test
def test_rewritten():
    """an image that is compacted by writing it anew keeps its bitmaps, those that were closed"""
    make_dirty()
    before = bits('a.qcow2')
    good(IMAGO, 'compact', '-q', '--rewrite', 'a.qcow2')
    equal(bits('a.qcow2'), before)
    assert_clean('a.qcow2')
    data = open('a.qcow2', 'rb').read()
    directory, = struct.unpack_from('>Q', data, data.index(BITMAPS_EXTENSION) + 24)
    poke('a.qcow2', directory + 15, b'\3')
    broken = open('a.qcow2', 'rb').read()
    assert_fails(imago('compact', '--rewrite', 'a.qcow2'), 'was not closed')
    equal(open('a.qcow2', 'rb').read() == broken, True)
    good(IMAGO, 'compact', '-q', '--rewrite', '--lose-bitmaps', 'a.qcow2')
    equal(bits('a.qcow2'), {name: value for name, value in before.items() if name != 'fine'})
    assert_clean('a.qcow2')


@test
def test_copy_hostile():
    """damage is an error that leaves nothing behind"""
    make_dirty()
    data = open('a.qcow2', 'rb').read()
    directory, = struct.unpack_from('>Q', data, data.index(BITMAPS_EXTENSION) + 24)
    table, = struct.unpack_from('>Q', data, directory)
    for at, value in [(directory + 8, b'\x07\xff\xff\xff'), (directory + 8, b'\0\0\0\2'), (directory, b'\0\x10' + bytes(6)),
                      (directory + 17, b'\x20'), (directory + 17, b'\x08'),
                      (table, b'\0\0\1' + bytes(5)), (table, b'\1' + bytes(7)), (table + 6, b'\2\0'), (table + 7, b'\1')]:
        good('cp', 'a.qcow2', 'bad.qcow2')
        poke('bad.qcow2', at, value)
        mine = run(IMAGO, 'convert', '--bitmaps', '-O', 'qcow2', 'bad.qcow2', 'mine.qcow2')
        assert mine.status == 1 and mine.err.count('\n') == 1, (at, value, mine)
        assert not os.path.exists('mine.qcow2')
    # Two bitmaps with one table, and two tables with one cluster, could say very much in a small file.
    second = directory + 24 + 8  # 'fine', aligned
    other, = struct.unpack_from('>Q', data, second)
    for at, value in [(second, data[directory:directory + 8]), (other, data[table:table + 8]), (table, data[directory:directory + 8])]:
        good('cp', 'a.qcow2', 'bad.qcow2')
        poke('bad.qcow2', at, value)
        assert_fails(imago('convert', '--bitmaps', '-O', 'qcow2', 'bad.qcow2', 'mine.qcow2'), 'found already')
        assert not os.path.exists('mine.qcow2')


@test
def test_preallocated():
    """the map of preallocated images, to the last field"""
    for cluster in ['512', '4k', '64k', '2M']:
        for options in ['preallocation=metadata', 'preallocation=metadata,compat=0.10', 'preallocation=full']:
            create('a.qcow2', '6M', options='%s,cluster_size=%s' % (options, cluster))
            compare_map('a.qcow2', strict=True)
            compare_all('a.qcow2')


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
