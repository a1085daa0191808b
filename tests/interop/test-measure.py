#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""How much room a new image needs, as qemu-img says: argument 1 is the shard, 2 their number."""

import os
import random
import sys

import combinations
from cases import KIB, compressed, create_options, make_backing, make_noise, name_of, ordinary
from imagotest import IMAGO, add_test, assert_fails, create, diagnose, equal, good, main, poke, qemu_io, run
from interop import compare_map

MIB = 1024 * KIB
GIB = 1024 * MIB

TARGETS = {
    'version': ['0.10', '1.1'],
    'cluster': [512 << n for n in range(13)],
    'refcount_bits': [1, 2, 4, 8, 16, 32, 64],
    'extended_l2': ['off', 'on'],
    'data_file': ['none', 'plain', 'raw'],
    'lazy': ['off', 'on'],
    'preallocation': ['off', 'metadata', 'falloc', 'full'],
    'backing': ['none', 'plain', 'with format'],
    'size': [0, 1, 511, 1000001, 37 * MIB, 5 * GIB + 512, 128 * GIB],
}


def is_valid(case):
    """What the numbers do not depend on may be impossible."""
    old = case['version'] == '0.10'
    return not any([
        old and (case['refcount_bits'] != 16 or case['extended_l2'] == 'on' or case['lazy'] == 'on'
                 or case['data_file'] != 'none'),
        case['extended_l2'] == 'on' and case['cluster'] < 16 * KIB,
    ])


def target_options(case):
    options = ['compat=%s' % case['version'], 'cluster_size=%d' % case['cluster'],
               'refcount_bits=%d' % case['refcount_bits'], 'extended_l2=%s' % case['extended_l2'],
               'lazy_refcounts=%s' % case['lazy'], 'preallocation=%s' % case['preallocation']]
    if case['data_file'] != 'none':
        options += ['data_file=data', 'data_file_raw=%s' % ('on' if case['data_file'] == 'raw' else 'off')]
    if case['backing'] != 'none':
        options += ['backing_file=base'] + (['backing_fmt=raw'] if case['backing'] != 'plain' else [])
    return ['-O', 'qcow2', '-o', ','.join(options)]


def compare(*args):
    for output in ('human', 'json'):
        mine = good(IMAGO, 'measure', '--output=%s' % output, *args)
        theirs = good('qemu-img', 'measure', '--output=%s' % output, *args)
        equal(mine.out, theirs.out, ' '.join(str(arg) for arg in args))
    return mine.json()


# ---- the targets, empty and for one source ----

def run_targets(cases):
    create('source', 5 * MIB + 512)
    qemu_io('source', ['write -q -P 1 %d 512' % (i * 300 * KIB) for i in range(17)] + ['write -q -z 1M 1M'])
    for case in cases:
        options = target_options(case)
        compare(*options, '--size', case['size'])
        compare(*options, 'source')
    for size in (0, 1, 511, 512, 1000001, 4 * GIB + 1):
        compare('-O', 'raw', '--size', size)
        compare('--size', size, '-o', 'preallocation=falloc')


# ---- the sources ----

def fill(name, case, rng):
    narrow = case['refcount_bits'] == 2 and case['snapshots'] > 0
    commands = []
    if case['data_file'] == 'none' and case['preallocation'] == 'off' and not narrow:
        commands += compressed(rng, case['size'], case['cluster'])
    zero_clusters = case['version'] == 3 or case['backing'] == 'none'
    qemu_io(name, commands + ordinary(rng, case['size'], zero_clusters), '-f', 'qcow2')
    for i in range(case['snapshots']):
        good('qemu-img', 'snapshot', '-c', 'snapshot %d' % i, name)
        qemu_io(name, ordinary(rng, case['size'], zero_clusters, 5), '-f', 'qcow2')


def compare_source(case, rng):
    cluster = 512 << rng.randrange(13)
    extended = 'on' if cluster >= 16 * KIB and rng.random() < 0.5 else 'off'
    options = ['-O', 'qcow2', '-o', 'cluster_size=%d,extended_l2=%s' % (cluster, extended)]
    compare('-O', 'raw', 'top.qcow2')
    compare(*options, 'top.qcow2')
    for i in range(case['snapshots']):
        compare(*options, '-l', 'snapshot %d' % i, 'top.qcow2')


def run_source(case, number):
    rng = random.Random(number)
    make_noise()
    backing = make_backing(case, rng)
    create('top.qcow2', case['size'], 'qcow2', create_options(case), backing)
    fill('top.qcow2', case, rng)
    # Where the programs do not agree about holes in preallocated clusters there is nothing to compare.
    if case['preallocation'] not in ('off', 'full'):
        try:
            compare_map('top.qcow2', strict=True)
        except AssertionError:
            diagnose('the maps differ')
            return
    compare_source(case, rng)


# ---- raw files, bitmaps, refusals ----

def run_raw():
    """Holes of the file system, and a size that is no whole sector."""
    with open('raw', 'wb') as file:
        file.truncate(7 * MIB + 1)
    for at in (0, 65535, 1 * MIB + 3, 4 * MIB, 7 * MIB):
        poke('raw', at, b'x')
    for cluster in (512, 4096, 65536, 2 * MIB):
        compare('-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=%d' % cluster, 'raw')
    compare('-f', 'raw', '-O', 'raw', 'raw')


def assert_enough(source, format):
    """What is measured holds what is converted, however small the clusters are."""
    for cluster in (512, 1024, 2048, 4096, 65536):
        options = ['-f', format, '-O', 'qcow2', '-o', 'cluster_size=%d' % cluster, source]
        required = good(IMAGO, 'measure', '--output=json', *options).json()['required']
        good(IMAGO, 'convert', '-t', 'unsafe', *options, 'new')
        size = os.path.getsize('new')
        assert size <= required, 'clusters of %d: %d > %d' % (cluster, size, required)
        good('qemu-img', 'compare', '-f', format, '-F', 'qcow2', source, 'new')


def run_enough():
    """Data in pieces that are smaller than what is looked at for zeroes, and smaller than the clusters they lie in."""
    create('pieces', 256 * KIB, options='cluster_size=512')
    qemu_io('pieces', ['write -q -P 1 %d 512' % at for at in range(0, 256 * KIB, KIB)])
    assert_enough('pieces', 'qcow2')
    create('subclusters', 2 * MIB, options='extended_l2=on')
    qemu_io('subclusters', ['write -q -P 1 %d 2k' % at for at in range(2 * KIB, 2 * MIB, 6 * KIB)])
    assert_enough('subclusters', 'qcow2')


def run_holes():
    """Holes of the file below an image with free clusters: QEMU counts clusters in use, and looks for no holes then."""
    create('holes', MIB)
    qemu_io('holes', ['write -q -P 1 0 1M', 'discard 0 256k'], '-d', 'unmap')
    info = good(IMAGO, 'map', '--output=json', 'holes').json()
    start = next(entry['offset'] for entry in info if entry['data'])
    good('fallocate', '-p', '-o', start, '-l', 256 * KIB, 'holes')
    mine = good(IMAGO, 'measure', '--output=json', '-O', 'qcow2', 'holes').json()
    theirs = good('qemu-img', 'measure', '--output=json', '-O', 'qcow2', 'holes').json()
    equal(mine['fully-allocated'], theirs['fully-allocated'])
    assert mine['required'] <= theirs['required'], (mine, theirs)
    assert_enough('holes', 'qcow2')


def run_bitmaps():
    create('x', 300 * MIB)
    equal(compare('-O', 'qcow2', 'x')['bitmaps'], 0)
    for i, granularity in enumerate((512, 4096, 65536, 2 * GIB)):
        good('qemu-img', 'bitmap', '--add', '-g', granularity, 'x', 'b' * (1 + 340 * i))
        for cluster in (512, 4096, 65536, 2 * MIB):
            compare('-O', 'qcow2', '-o', 'cluster_size=%d' % cluster, 'x')
    good('qemu-img', 'snapshot', '-c', 'snapshot', 'x')
    compare('-O', 'qcow2', '-l', 'snapshot', 'x')
    equal('bitmaps' in compare('-O', 'qcow2', '-o', 'compat=0.10', 'x'), False)
    equal('bitmaps' in compare('-O', 'raw', 'x'), False)
    create('old', MIB, options='compat=0.10')
    equal('bitmaps' in compare('-O', 'qcow2', 'old'), False)
    # One that was not closed.
    with open('x', 'rb') as file:
        content = file.read()
    at = content.index(b'bbbb') - 24 + 12
    poke('x', at, (int.from_bytes(content[at:at + 4], 'big') | 1).to_bytes(4, 'big'))
    compare('-O', 'qcow2', 'x')


REFUSED = [
    [],
    ['-O', 'qcow2'],
    ['-O', 'qcow2', '-o', 'size=3'],
    ['--size', '8E'],
    ['--size', '1x'],
    ['--size', '-1'],
    ['-O', 'qcow2', '--size', '100P'],
    ['-O', 'qcow2', '-o', 'cluster_size=512', '--size', '129G'],
    ['-O', 'nosuch', '--size', '1'],
    ['-O', 'dmg', '--size', '1'],
    ['-O', 'qcow2', '-o', 'compat=0.10,refcount_bits=8', '--size', '1'],
    ['-O', 'qcow2', '-o', 'extended_l2=on,cluster_size=4k', '--size', '1'],
    ['-O', 'qcow2', '-o', 'cluster_size=4M', '--size', '1'],
    ['-O', 'qcow2', '-o', 'cluster_size=1000', '--size', '1'],
    ['-O', 'qcow2', '-o', 'refcount_bits=3', '--size', '1'],
    ['-O', 'qcow2', '-o', 'preallocation=some', '--size', '1'],
    ['-O', 'qcow2', '-o', 'compat=1', '--size', '1'],
    ['-O', 'qcow2', '-o', 'nosuch=1', '--size', '1'],
    ['-O', 'raw', '-o', 'cluster_size=4k', '--size', '1'],
    ['-o', 'size=1,', '--size', '1'],
    ['--output=xml', '--size', '1'],
    ['--size', '1', 'source'],
    ['-f', 'raw', '--size', '1'],
    ['-l', 'x', '--size', '1'],
    ['-O', 'qcow2', '-l', 'nosuch', 'source'],
    ['-O', 'qcow2', 'missing'],
    ['-O', 'qcow2', '-f', 'nosuch', 'source'],
    ['source', 'source'],
]


def run_refused():
    create('source', MIB)
    for args in REFUSED:
        assert_fails(run(IMAGO, 'measure', *args))
        equal(run('qemu-img', 'measure', *args).status, 1, args)


if __name__ == '__main__':
    shard, shards = int(sys.argv[1]), int(sys.argv[2])
    targets, n_pairs = combinations.generate(TARGETS, is_valid)
    sources, _ = combinations.generate()
    assert len(targets) >= 60, len(targets)
    diagnose('%d targets with %d pairs of values, %d sources; this is shard %d of %d'
             % (len(targets), n_pairs, len(sources), shard + 1, shards))
    add_test('targets', lambda: run_targets(targets[shard::shards]))
    for index, chosen in enumerate(sources):
        if index % shards == shard:
            add_test(name_of(chosen), lambda chosen=chosen, index=index: run_source(chosen, index))
    if shard == 0:
        add_test('raw files', run_raw)
        add_test('what is measured is enough', run_enough)
        add_test('holes below free clusters', run_holes)
        add_test('bitmaps', run_bitmaps)
        add_test('refused', run_refused)
    main(needs=['qemu-img', 'qemu-io'])
