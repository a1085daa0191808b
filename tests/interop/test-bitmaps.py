# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Persistent bitmaps: described as qemu-img describes them, and in nobody's way."""

from imagotest import create, good, main, poke, qemu_io, test
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
