#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""New images with all options: equal to those that qemu-img makes.

usage: test-create.py SHARD NUMBER-OF-SHARDS
"""

import contextlib
import hashlib
import os
import sys

import combinations
from combinations import KIB, MIB
from imagotest import IMAGO, add_test, create, diagnose, equal, good, main, qemu_img, qemu_io, run
from interop import JUSTIFIED, check_cover, merged

TIB = 1 << 40

PARAMETERS = {
    'version': [3, 2],
    'cluster': [512 << n for n in range(13)],
    'refcount_bits': [1, 2, 4, 8, 16, 32, 64],
    'compression': ['zlib', 'zstd'],
    'extended_l2': [False, True],
    'lazy': [False, True],
    'preallocation': ['off', 'metadata', 'falloc', 'full'],
    'data_file': ['none', 'plain', 'raw'],
    'backing': ['none', 'raw', 'qcow2'],
    'size': [0, 1, 512, 3 * MIB - 511, 5 * MIB + 512, 37 * MIB, TIB],
}
BACKING_SIZE = 3 * MIB


def fits(case):
    """Whether the L1 table is not too large."""
    entry = 16 if case['extended_l2'] else 8
    return case['size'] <= (4 * MIB) * case['cluster'] * (case['cluster'] // entry)


def is_valid(case):
    old = case['version'] == 2
    data_file = case['data_file'] != 'none'
    backing = case['backing'] != 'none'
    return not any([
        old and (case['refcount_bits'] != 16 or case['compression'] != 'zlib' or case['extended_l2'] or data_file
                 or case['lazy']),
        case['extended_l2'] and case['cluster'] < 16 * KIB,
        case['data_file'] == 'raw' and backing,
        backing and case['preallocation'] != 'off' and not case['extended_l2'],
        not fits(case),
        # qemu-img would take minutes, or all of the disk.
        case['size'] == TIB and case['preallocation'] in ('falloc', 'full'),
        case['size'] == TIB and (case['preallocation'] == 'metadata' or case['data_file'] == 'raw')
        and case['cluster'] < 512 * KIB,
    ])


def arguments(case):
    options = ['compat=%s' % ('0.10' if case['version'] == 2 else '1.1'), 'cluster_size=%d' % case['cluster'],
               'refcount_bits=%d' % case['refcount_bits'], 'compression_type=%s' % case['compression'],
               'extended_l2=%s' % ('on' if case['extended_l2'] else 'off'),
               'lazy_refcounts=%s' % ('on' if case['lazy'] else 'off'), 'preallocation=%s' % case['preallocation']]
    if case['data_file'] != 'none':
        options += ['data_file=data', 'data_file_raw=%s' % ('on' if case['data_file'] == 'raw' else 'off')]
    backing = []
    if case['backing'] != 'none':
        backing = ['-b', 'base', '-F', case['backing']]
    return ['create', '-f', 'qcow2', '-o', ','.join(options), *backing, 'image', str(case['size'])]


@contextlib.contextmanager
def inside(folder):
    """QEMU looks for a data file in the working folder."""
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir('..')


def make(folder, program, case):
    """Makes the image in a folder of its own and returns what was printed."""
    os.mkdir(folder)
    with inside(folder):
        if case['backing'] != 'none':
            create('base', BACKING_SIZE, case['backing'])
            qemu_io('base', ['write -P 7 0 64k', 'write -P 8 2M 64k'], '-f', case['backing'])
        return good(program, *arguments(case)).out


def check():
    return good('qemu-img', 'check', '--output=json', 'image').json()


def get_map(size):
    """Where the clusters lie in the file is the writer's business, and so is how a map falls into pieces."""
    entries = good('qemu-img', 'map', '--output=json', 'image').json()
    check_cover(entries, size)
    for justify in JUSTIFIED:
        entries = justify(entries)
    for entry in entries:
        entry.pop('offset', None)
    return merged(entries)


def describe(folder, size):
    """All that shall be equal, and the result of the check."""
    with inside(folder):
        info = good('qemu-img', 'info', '--output=json', 'image').json()
        info.pop('actual-size')
        found = check()
        counts = [found.get(key) for key in ('check-errors', 'total-clusters', 'allocated-clusters')]
        if os.path.exists('data'):
            # QEMU's may be longer, up to the end of the last cluster.
            assert os.path.getsize('data') == size or (folder == 'theirs' and os.path.getsize('data') > size)
        return (info, counts, get_map(size), os.path.exists('data')), found


def digest(folder):
    with inside(folder):
        good('qemu-img', 'convert', '-O', 'raw', 'image', 'content')
        with open('content', 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()


def use(size):
    """QEMU writes the image, and finds what it wrote."""
    patterns = {size - 512: 2, 0: 1}
    with inside('mine'):
        for verb in ('write', 'read'):
            qemu_io('image', ['%s -P %d %d 512' % (verb, value, at) for at, value in patterns.items()
                              if verb == 'write' or at == 0 or size > 512], '-f', 'qcow2')
        check()


def run_case(case):
    size = (case['size'] + 511) // 512 * 512
    equal(make('mine', IMAGO, case), make('theirs', 'qemu-img', case))
    mine, found = describe('mine', size)
    theirs, found_by_them = describe('theirs', size)
    equal(mine, theirs)
    # Nothing is wasted, and nothing is scattered.
    assert found['image-end-offset'] <= found_by_them['image-end-offset'], (found, found_by_them)
    equal(found.get('fragmented-clusters', 0), 0)
    if size < TIB:
        equal(digest('mine'), digest('theirs'))
    if size > 0:
        use(size)


# ---- raw ----

RAW = [[option, size] for option in ('preallocation=off', 'preallocation=falloc', 'preallocation=full',
                                     'nocow=on,extent_size_hint=64k')
       for size in ('0', '1', '3M', '1.5k')]


def run_raw(option, size):
    args = ['create', '-f', 'raw', '-o', option, 'image', size]
    for folder, program in (('mine', IMAGO), ('theirs', 'qemu-img')):
        os.mkdir(folder)
        printed = good('sh', '-c', 'cd "$0" && exec "$@"', folder, program, *args).out
        assert printed.startswith("Formatting 'image', fmt=raw size="), printed
    equal(os.path.getsize('mine/image'), os.path.getsize('theirs/image'))
    if option.endswith(('falloc', 'full')):
        equal(os.stat('mine/image').st_blocks, os.stat('theirs/image').st_blocks)
    with open('mine/image', 'rb') as file:
        content = file.read()
    equal(content.count(0), len(content))


# ---- what both refuse ----

REFUSED = [
    ['-o', 'compat=0.10,lazy_refcounts=on', 'x', '1M'],
    ['-o', 'compat=0.10,refcount_bits=8', 'x', '1M'],
    ['-o', 'compat=0.10,cluster_size=64k,extended_l2=on', 'x', '1M'],
    ['-o', 'compat=v2,compression_type=zstd', 'x', '1M'],
    ['-o', 'compat=0.10,data_file=y', 'x', '1M'],
    ['-o', 'data_file_raw=on', 'x', '1M'],
    ['-o', 'data_file=y,data_file_raw=on', '-b', 'base', '-F', 'raw', 'x', '1M'],
    ['-b', 'base', '-F', 'raw', '-o', 'preallocation=metadata', 'x'],
    ['-b', 'base', '-F', 'raw', '-o', 'preallocation=full', 'x'],
    ['-o', 'cluster_size=8k,extended_l2=on', 'x', '1M'],
    ['-o', 'cluster_size=256', 'x', '1M'],
    ['-o', 'cluster_size=3000', 'x', '1M'],
    ['-o', 'cluster_size=4M', 'x', '1M'],
    ['-o', 'refcount_bits=3', 'x', '1M'],
    ['-o', 'refcount_bits=128', 'x', '1M'],
    ['-o', 'refcount_bits=0', 'x', '1M'],
    ['-o', 'cluster_size=0', 'x', '1M'],
    ['-o', 'refcount_bits=4294967312', 'x', '1M'],
    ['-o', 'refcount_bits=1k', 'x', '1M'],
    ['-o', 'compression_type=lzma', 'x', '1M'],
    ['-o', 'compression_type=none', 'x', '1M'],
    ['-o', 'preallocation=some', 'x', '1M'],
    ['-o', 'preallocation=none', 'x', '1M'],
    ['-o', 'compat=4', 'x', '1M'],
    ['-o', 'lazy_refcounts=maybe', 'x', '1M'],
    ['-o', 'unknown=1', 'x', '1M'],
    ['-o', 'unknown', 'x', '1M'],
    ['-o', '=1', 'x', '1M'],
    ['-o', ',', 'x', '1M'],
    ['-o', '', 'x', '1M'],
    ['-o', 'compat=1.1,', 'x', '1M'],
    ['-o', 'encryption=on', 'x', '1M'],
    ['-o', 'encrypt.format=luks', 'x', '1M'],
    ['-o', 'size=1M', 'x', '1M'],
    ['-o', 'cluster_size=512', 'x', '129G'],
    ['x', '7E'],
    ['x', '1Q'],
    ['x', '1e3'],
    ['x'],
    [],
    ['x', '1M', '2M'],
    ['-b', 'base', 'x'],
    ['-F', 'raw', 'x', '1M'],
    ['-b', 'nowhere', '-F', 'raw', 'x'],
    ['-b', 'nowhere', '-F', 'raw', 'x', '1M'],
    ['-b', 'base', '-F', 'unknown', 'x'],
    ['-b', 'base', '-F', 'qcow2', 'x'],
    ['-b', 'x', '-F', 'raw', 'x', '1M'],
    ['-u', '-b', 'base', '-F', 'raw', 'x'],
    ['nowhere/x', '1M'],
    ['-o', 'data_file=nowhere/y', 'x', '1M'],
    ['-f', 'unknown', 'x', '1M'],
    ['-f', 'raw', '-b', 'base', '-F', 'raw', 'x', '1M'],
    ['-f', 'raw', '-o', 'preallocation=metadata', 'x', '1M'],
    ['-f', 'raw', '-o', 'cluster_size=64k', 'x', '1M'],
    ['-f', 'raw', '-o', 'backing_file=base', 'x', '1M'],
]


def run_refused(args):
    create('base', '1M', 'raw')
    before = sorted(os.listdir('.'))
    mine = run(IMAGO, 'create', '-f', 'qcow2', *args)
    equal(sorted(os.listdir('.')), before, 'nothing is left')
    theirs = qemu_img('create', '-f', 'qcow2', *args)
    equal((mine.status, theirs.status), (1, 1), '%s%s' % (mine, theirs))
    if args and 'encr' not in ' '.join(args):
        equal(mine.out, theirs.out)
    assert mine.err.startswith('imago: '), mine


# ---- names ----

def run_names():
    """doubled commas, lists that add up, -b before -o, relative names"""
    create('a,b', '1M', 'raw')
    for program in (IMAGO, 'qemu-img'):
        good(program, 'create', '-q', '-f', 'qcow2', '-o', 'backing_file=a,,b', '-o', 'backing_fmt=raw',
             '-o', 'cluster_size=4k', '-o', 'cluster_size=1k,lazy_refcounts', 'x')
        result = good('qemu-img', 'info', '--output=json', 'x').json()
        equal((result['backing-filename'], result['cluster-size'], result['virtual-size']), ('a,b', 1024, MIB))
        assert result['format-specific']['data']['lazy-refcounts']
    create('base', '2M', 'raw')
    good(IMAGO, 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'raw', '-o', 'backing_file=a,,b', 'x')
    equal(good('qemu-img', 'info', '--output=json', 'x').json()['backing-filename'], 'base')
    # A name in the folder of the image is stored relative, one elsewhere as it is.
    good(IMAGO, 'create', '-q', '-f', 'qcow2', '-b', os.path.abspath('base'), '-F', 'raw', 'x')
    equal(good('qemu-img', 'info', '--output=json', 'x').json()['backing-filename'], 'base')
    os.mkdir('folder')
    good(IMAGO, 'create', '-q', '-f', 'qcow2', '-b', '../base', '-F', 'raw', 'folder/x')
    equal(good('qemu-img', 'info', '--output=json', 'folder/x').json()['backing-filename'], '../base')
    good(IMAGO, 'create', '-q', '-u', '-f', 'qcow2', '-b', 'nbd://host/disk', '-F', 'raw', 'x', '1M')
    equal(good('qemu-img', 'info', '--output=json', 'x').json()['backing-filename'], 'nbd://host/disk')
    help_of = {program: good(program, 'create', '-f', 'raw', '-o', 'help', 'x').out for program in (IMAGO, 'qemu-img')}
    equal(help_of[IMAGO], help_of['qemu-img'])


def run_chain():
    """what the backing image refers to is subject to the policy"""
    os.mkdir('elsewhere')
    create('elsewhere/base', '1M', 'raw')
    create('middle', backing=('elsewhere/base', 'raw'))
    result = run(IMAGO, 'create', '-q', '-f', 'qcow2', '-b', 'middle', '-F', 'qcow2', 'x')
    equal(result.status, 1, result)
    assert '--references=any' in result.err, result
    assert not os.path.exists('x')
    good(IMAGO, 'create', '-q', '--references=any', '-f', 'qcow2', '-b', 'middle', '-F', 'qcow2', 'x')
    # In the place of something that the chain needs.
    result = run(IMAGO, 'create', '-q', '--references=any', '-f', 'qcow2', '-b', '../x', '-F', 'qcow2',
                 'elsewhere/base')
    equal(result.status, 1, result)
    assert 'refers to itself' in result.err, result
    good('qemu-img', 'info', '--backing-chain', 'x')


def add_all():
    shard, shards = int(sys.argv[1]), int(sys.argv[2])
    cases, pairs = combinations.generate(PARAMETERS, is_valid)
    diagnose('%d combinations, %d pairs of values; this is shard %d of %d' % (len(cases), pairs, shard + 1, shards))
    assert len(cases) >= 80, len(cases)
    for number, case in enumerate(cases):
        if number % shards == shard:
            add_test(' '.join('%s=%s' % item for item in case.items()), lambda case=case: run_case(case))
    for number, args in enumerate(REFUSED):
        if number % shards == shard:
            add_test('refused: %s' % ' '.join(args), lambda args=args: run_refused(args))
    for number, args in enumerate(RAW):
        if number % shards == shard:
            add_test('raw %s' % ' '.join(args), lambda args=args: run_raw(*args))
    if shard == 0:
        add_test(run_names.__doc__, run_names)
        add_test(run_chain.__doc__, run_chain)


add_all()
main(needs=['qemu-img', 'qemu-io'])
