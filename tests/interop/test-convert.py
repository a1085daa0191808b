#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Converting with all options: the disk is the same, qemu-img finds nothing to complain about, the file is no larger than
qemu-img's, and its bytes do not depend on the number of threads.

usage: test-convert.py SHARD NUMBER-OF-SHARDS
"""

import functools
import os
import random
import sys
import tempfile

from imagotest import IMAGO, add_test, create, diagnose, equal, good, imago, main, qemu_io, run, share, test

MIB = 1 << 20
SIZE = 24 * MIB + 512
# What the file system adds or not, by chance, for the metadata of some clusters.
SLACK_BLOCKS = 256
# Compressed: deflate of another library, levels of equal worth.
SIZE_LIMIT = 1.015

TARGETS = [
    '-O raw', '-O raw -S 64k', '-O raw -S 512', '-O raw -S 0', '-O raw -o preallocation=falloc',
    '-O qcow2', '-O qcow2 -S 0', '-O qcow2 -S 64k', '-O qcow2 -o compat=0.10',
    '-O qcow2 -o cluster_size=512', '-O qcow2 -o cluster_size=4k', '-O qcow2 -o cluster_size=2M',
    '-O qcow2 -o extended_l2=on', '-O qcow2 -o extended_l2=on,cluster_size=16k',
    '-O qcow2 -o preallocation=metadata', '-O qcow2 -o preallocation=falloc', '-O qcow2 -o preallocation=full',
    '-O qcow2 -o refcount_bits=1', '-O qcow2 -o refcount_bits=64', '-O qcow2 -o lazy_refcounts=on',
    '-O qcow2 -o data_file=target.data', '-O qcow2 -o data_file=target.data,data_file_raw=on',
    '-O qcow2 -c', '-O qcow2 -c -o compression_type=zstd', '-O qcow2 -c -o cluster_size=512',
    '-O qcow2 -c -o cluster_size=2M', '-O qcow2 -c -o extended_l2=on', '-O qcow2 -c -o compat=0.10',
]
SOURCES = ['data.raw', 'plain.qcow2', 'zlib.qcow2', 'zstd.qcow2', 'small.qcow2', 'overlay.qcow2']
# Shared clusters of one reference are no longer one file: there each compressed one takes a whole cluster.
MAY_BE_LARGER = ['-O qcow2 -c -o refcount_bits=1']


def write_data(name):
    """Noise, patterns, text and zeroes in runs that begin and end anywhere; holes between them."""
    rng = random.Random(7)
    with open(name, 'wb') as file:
        file.truncate(SIZE)
        for number in range(120):
            length = rng.randrange(1, 300) * 512
            offset = rng.randrange(0, SIZE - length) // 512 * 512
            file.seek(offset)
            file.write([rng.randbytes(length), bytes([number]) * length, bytes(length),
                        (b'%d bottles of beer on the wall ' % number * (length // 20))[:length]][number % 4])


def write_sources():
    write_data('data.raw')
    for name, options in [('plain.qcow2', []), ('zlib.qcow2', ['-c']), ('zstd.qcow2', ['-c', '-o', 'compression_type=zstd']),
                          ('small.qcow2', ['-o', 'cluster_size=4k'])]:
        good('qemu-img', 'convert', '-O', 'qcow2', *options, 'data.raw', name)
    create('overlay.qcow2', backing=('plain.qcow2', 'qcow2'))
    qemu_io('overlay.qcow2', ['write -P 9 5M 1000k', 'write -z 10M 3M', 'write -P 1 20M 12800'])


@functools.lru_cache(None)
def shared_sources():
    """A folder with the sources, made once for all cases, and when each of them was written last."""
    folder = tempfile.TemporaryDirectory(prefix='imago-sources-')
    before = os.getcwd()
    os.chdir(folder.name)
    write_sources()
    os.chdir(before)
    return folder, {name: os.stat(os.path.join(folder.name, name)).st_mtime_ns for name in SOURCES}


def make_sources():
    """Gives the case the sources; they are other names of the same files, which no case may have written to."""
    folder, written = shared_sources()
    for name in SOURCES:
        os.link(os.path.join(folder.name, name), name)
        equal(os.stat(name).st_mtime_ns, written[name], 'an earlier case wrote to ' + name)


def files_of(name):
    return [file for file in (name, 'target.data') if os.path.exists(file)]


def blocks_of(name):
    return sum(os.stat(file).st_blocks for file in files_of(name))


def contents_of(name):
    result = {}
    for file in files_of(name):
        with open(file, 'rb') as stream:
            result[file] = stream.read()
    return result


def check_image(name, source, format):
    equal(run('qemu-img', 'compare', '-F', format, source, name).status, 0, 'compare')
    if format == 'qcow2':
        good('qemu-img', 'check', '-q', name)


def check_threads(options, source):
    """Whatever the number of threads, the bytes are those of the target that is there."""
    expected = contents_of('target')
    for threads in '1', '4':
        good(IMAGO, 'convert', '-m', threads, '-t', 'unsafe', *options, source, 'target')
        assert contents_of('target') == expected, f'other bytes with {threads} threads'


def convert_case(source, options):
    def check():
        make_sources()
        format = options[1]
        good(IMAGO, 'convert', *options, source, 'target')
        check_image('target', source, format)
        mine = blocks_of('target'), os.path.getsize('target')
        check_threads(options, source)
        for name in files_of('target'):
            os.unlink(name)
        good('qemu-img', 'convert', *options, source, 'target')
        theirs = blocks_of('target'), os.path.getsize('target')
        assert mine[0] <= theirs[0] * SIZE_LIMIT + SLACK_BLOCKS, (mine, theirs)
        assert mine[1] <= theirs[1] * SIZE_LIMIT + 65536, (mine, theirs)
    add_test(f'{source} {" ".join(options)}', check)


# ---- what has no matrix ----

@test
def test_backing():
    """-B leaves to the backing file what the overlay does not own"""
    make_sources()
    for extra in [], ['-c'], ['-o', 'cluster_size=4k'], ['-o', 'compat=0.10'], ['-o', 'extended_l2=on']:
        good(IMAGO, 'convert', '-O', 'qcow2', '-B', 'plain.qcow2', '-F', 'qcow2', *extra, 'overlay.qcow2', 'mine')
        good('qemu-img', 'convert', '-O', 'qcow2', '-B', 'plain.qcow2', '-F', 'qcow2', *extra, 'overlay.qcow2', 'theirs')
        check_image('mine', 'overlay.qcow2', 'qcow2')
        assert os.stat('mine').st_blocks <= os.stat('theirs').st_blocks + SLACK_BLOCKS
        info = good('qemu-img', 'info', '--output=json', 'mine').json()
        equal((info['backing-filename'], info['backing-filename-format']), ('plain.qcow2', 'qcow2'))


@test
def test_existing():
    """-n writes over what is there, zeroes too, and nothing behind the end"""
    make_sources()
    for format in 'raw', 'qcow2':
        good('qemu-img', 'create', '-q', '-f', format, 'target', '32M')
        good('qemu-io', '-f', format, '-c', 'write -P 77 0 32M', 'target')
        for _ in range(2):
            good(IMAGO, 'convert', '-n', '-O', format, 'overlay.qcow2', 'target')
            good('qemu-io', '-f', format, '-c', f'read -P 77 {SIZE} {32 * MIB - SIZE}', 'target')
            good('qemu-img', 'convert', '-O', 'raw', 'overlay.qcow2', 'wanted')
            with open('wanted', 'ab') as file:
                file.write(bytes([77]) * (32 * MIB - SIZE))
            check_image('target', 'wanted', format)
        os.unlink('target')
    good('qemu-img', 'create', '-q', '-f', 'raw', 'target', '1M')
    equal(imago('convert', '-n', '-O', 'raw', 'overlay.qcow2', 'target').status, 1)
    equal(os.path.getsize('target'), MIB)


@test
def test_joined():
    """several disks become one"""
    make_sources()
    create('odd.raw', '1000', 'raw')
    for order in ['data.raw', 'overlay.qcow2', 'zlib.qcow2'], ['odd.raw', 'small.qcow2', 'odd.raw']:
        good(IMAGO, 'convert', '-O', 'qcow2', *order, 'mine')
        good('qemu-img', 'convert', '-O', 'raw', *order, 'theirs')
        check_image('mine', 'theirs', 'qcow2')


@test
def test_window():
    """a part of the disk"""
    make_sources()
    good('qemu-img', 'convert', '-O', 'raw', 'overlay.qcow2', 'all')
    with open('all', 'rb') as file:
        content = file.read()
    for offset, length in [(0, 512), (5 * MIB + 512, 3 * MIB), (SIZE - 1024, 0), (12 * MIB, 0)]:
        good(IMAGO, 'convert', '-O', 'raw', '--offset', str(offset), '--length', str(length), 'overlay.qcow2', 'part')
        with open('part', 'rb') as file:
            assert file.read() == content[offset:offset + length if length else None], (offset, length)
    for offset, length in [(SIZE + 512, 512), (0, SIZE + 512), (SIZE, 512)]:
        result = imago('convert', '--offset', str(offset), '--length', str(length), 'overlay.qcow2', 'bad')
        equal(result.status, 1)
        assert not os.path.exists('bad')


@test
def test_salvage():
    """--salvage keeps what can be read"""
    wanted = b''.join(b'line %d\n' % number for number in range(400000))[:4 * MIB]
    with open('text.raw', 'wb') as file:
        file.write(wanted)
    good('qemu-img', 'convert', '-c', '-O', 'qcow2', 'text.raw', 'text.qcow2')
    with open('text.qcow2', 'r+b') as file:
        file.seek(os.path.getsize('text.qcow2') // 2)
        file.write(b'\xff' * 3000)
    equal(imago('convert', 'text.qcow2', 'target').status, 1)
    assert not os.path.exists('target'), 'nothing is left'
    result = imago('convert', '--salvage', 'text.qcow2', 'target')
    equal(result.status, 0)
    assert 'warning: error while reading offset' in result.err, result
    with open('target', 'rb') as file:
        mine = file.read()
    equal(len(mine), len(wanted))
    # Deflate has no checksum: what it decodes before it sees the damage may be anything.
    different = [at for at in range(0, len(mine), 65536) if mine[at:at + 65536] != wanted[at:at + 65536]]
    assert 0 < len(different) <= 4, different
    assert any(bytes(512) in mine[at:at + 65536] for at in different), different


@test
def test_verify_and_rate():
    """--verify reads back; -r makes it no other file"""
    make_sources()
    for options in ['-O', 'raw'], ['-O', 'qcow2', '-c'], ['-O', 'qcow2', '-B', 'plain.qcow2', '-F', 'qcow2']:
        good(IMAGO, 'convert', '--verify', '-r', '1G', *options, 'overlay.qcow2', 'mine')
        check_image('mine', 'overlay.qcow2', options[1])
    good(IMAGO, 'convert', '--verify', '-O', 'qcow2', 'data.raw', 'overlay.qcow2', 'two')
    for options in ['--verify', '--salvage'], ['--verify', '-n']:
        equal(imago('convert', *options, '-O', 'qcow2', 'data.raw', 'two').status, 1)
    equal(imago('convert', '-r', 'x', 'data.raw', 'three').status, 1)


@test
def test_huge():
    """the time follows the data, not the disk"""
    create('huge.qcow2', '1T')
    qemu_io('huge.qcow2', ['write -P 5 300G 1M', 'write -P 6 1000G 64k'])
    good(IMAGO, 'convert', '-O', 'qcow2', 'huge.qcow2', 'target')
    good('qemu-img', 'check', '-q', 'target')
    qemu_io('target', ['read -P 5 300G 1M', 'read -P 6 1000G 64k', 'read -P 0 500G 1M'])
    assert os.path.getsize('target') < 4 * MIB


if __name__ == '__main__':
    shard, number = int(sys.argv.pop(1)), int(sys.argv.pop(1))
    share(shard, 2)  # those by hand once, in the shards that the sanitizers run, too
    cases = [(source, options.split()) for source in SOURCES for options in TARGETS
             if not ('extended_l2=on' in options and '-c' in options)]
    for index, case in enumerate(cases):
        if index % number == shard:
            convert_case(*case)
    diagnose(f'{len(cases)} cases in {number} shards')
    main()
