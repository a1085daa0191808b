#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Comparing disks, with the verdicts of qemu-img: argument 1 is the shard, 2 their number."""

import os
import random
import shutil
import sys

import combinations
from cases import KIB, compressed, create_options, make_backing, make_noise, name_of, ordinary
from imagotest import IMAGO, add_test, assert_fails, create, diagnose, equal, good, main, poke, qemu_io, run

MIB = 1024 * KIB


def first_status_difference(one, other):
    """Where the maps of qemu-img differ; None: nowhere."""
    maps = [good('qemu-img', 'map', '--output=json', name).json() for name in (one, other)]
    ends = sorted({entry['start'] + entry['length'] for entries in maps for entry in entries})
    start = 0
    for end in ends:
        found = []
        for entries in maps:
            entry = next(entry for entry in entries if entry['start'] <= start < entry['start'] + entry['length'])
            found.append([entry['present'], entry['zero'], entry['data'], 'offset' in entry])
        if found[0] != found[1]:
            return start
        start = end
    return None


def first_content_difference(one, other):
    contents = []
    for i, name in enumerate((one, other)):
        good('qemu-img', 'convert', '-O', 'raw', name, 'content%d' % i)
        with open('content%d' % i, 'rb') as file:
            contents.append(file.read())
    if contents[0] == contents[1]:
        return None
    return next(at for at in range(0, len(contents[0]), 512) if contents[0][at:at + 512] != contents[1][at:at + 512])


def expect_strict(one, other):
    """The answer for disks of one size, made of what qemu-img says of each of them.

    Its own answer may be another one: there it also counts whether a run reaches the end of the disk, and how
    long runs are depends on how they are looked up.
    """
    status = first_status_difference(one, other)
    content = first_content_difference(one, other)
    if status is not None and (content is None or status <= content):
        return 'Strict mode: Offset %d block status mismatch!\n' % status
    return 'Images are identical.\n' if content is None else 'Content mismatch at offset %d!\n' % content


def strict_verdict(one, other):
    expected = expect_strict(one, other)
    status = 0 if 'identical' in expected else 1
    for order in ((one, other), (other, one)):
        mine = run(IMAGO, 'compare', '-s', *order)
        equal((mine.out, mine.status), (expected, status), ' '.join(order))
        theirs = run('qemu-img', 'compare', '-s', *order)
        if theirs.out != mine.out:
            assert 'block status mismatch' in theirs.out, (mine, theirs)
    return mine.out


def verdict(*args, status=None):
    """What both programs say, which must be the same, in either order of the files."""
    for order in (args, [*args[:-2], args[-1], args[-2]]):
        mine = run(IMAGO, 'compare', *order)
        theirs = run('qemu-img', 'compare', *order)
        equal((mine.out, mine.status), (theirs.out, theirs.status), ' '.join(order))
        if status is not None:
            equal(mine.status, status, ' '.join(order))
        quiet = run(IMAGO, 'compare', '-q', *order)
        equal((quiet.out, quiet.err, quiet.status), ('', '', mine.status), ' '.join(order))
    return mine.out


def fill(name, case, rng):
    commands = []
    if case['data_file'] == 'none' and case['preallocation'] == 'off':
        commands += compressed(rng, case['size'], case['cluster'])
    zero_clusters = case['version'] == 3 or case['backing'] == 'none'
    qemu_io(name, commands + ordinary(rng, case['size'], zero_clusters), '-f', 'qcow2')


def run_case(case, number):
    rng = random.Random(number)
    make_noise()
    backing = make_backing(case, rng)
    create('top.qcow2', case['size'], 'qcow2', create_options(case), backing)
    fill('top.qcow2', case, rng)
    good('qemu-img', 'convert', '-O', 'raw', 'top.qcow2', 'same.raw')
    good('qemu-img', 'convert', '-O', 'qcow2', '-o', 'cluster_size=%d' % (512 << rng.randrange(13)),
         'top.qcow2', 'same.qcow2')
    equal(verdict('top.qcow2', 'same.raw', status=0), 'Images are identical.\n')
    verdict('-f', 'qcow2', '-F', 'qcow2', 'top.qcow2', 'same.qcow2', status=0)
    # Where the programs do not agree about holes in preallocated clusters, strictness means nothing.
    strict = case['preallocation'] in ('off', 'full')
    if strict:
        strict_verdict('top.qcow2', 'same.raw')
        strict_verdict('top.qcow2', 'same.qcow2')
    for at in [0, case['size'] - 1] + [rng.randrange(case['size']) for _ in range(2)]:
        shutil.copy('same.raw', 'other.raw')
        with open('other.raw', 'rb') as file:
            file.seek(at)
            byte = file.read(1)[0]
        poke('other.raw', at, bytes([byte ^ 1]))
        poke('other.raw', case['size'] - 1, b'!')
        verdict('top.qcow2', 'other.raw', status=1)
    for size in (case['size'] - 512, case['size'] + 4 * KIB):
        shutil.copy('same.raw', 'other.raw')
        os.truncate('other.raw', size)
        verdict('top.qcow2', 'other.raw')
        verdict('-s', 'top.qcow2', 'other.raw', status=1)
    # Two overlays of one image: what is below is in the same place.
    for name in ('one.qcow2', 'two.qcow2'):
        create(name, backing=('top.qcow2', 'qcow2'))
    if strict:
        equal(strict_verdict('one.qcow2', 'two.qcow2'), 'Images are identical.\n')
    at = rng.randrange(case['size'] // 512) * 512
    qemu_io('two.qcow2', ['write -q -P 201 %d 512' % at])
    verdict('one.qcow2', 'two.qcow2', status=1)
    if strict:
        strict_verdict('one.qcow2', 'two.qcow2')


# ---- by hand ----

def run_strict():
    """Each kind of block against each other."""
    commands = {
        'data': ['write -q -P 5 1M 1M'],
        'zero data': ['write -q -P 0 1M 1M'],
        'zero': ['write -q -z -u 1M 1M'],
        'kept zero': ['write -q -P 5 1M 1M', 'write -q -z 1M 1M'],
        'compressed': ['write -q -c -P 5 %d 64k' % (MIB + i * 64 * KIB) for i in range(16)],
        'nothing': [],
    }
    for name in commands:
        create(name, 4 * MIB)
        if commands[name]:
            qemu_io(name, commands[name], '-f', 'qcow2')
    for i, one in enumerate(commands):
        for other in list(commands)[i:]:
            strict_verdict(one, other)
            verdict(one, other)


def run_sizes():
    for name, size in (('one', MIB), ('two', 2 * MIB), ('three', 3 * MIB + 512)):
        with open(name, 'wb') as file:
            file.truncate(size)
    create('four.qcow2', 5 * MIB)
    args = ['-f', 'raw', '-F', 'raw']
    for strict in ([], ['-s']):
        verdict(*strict, *args, 'one', 'two')
        verdict(*strict, *args, 'two', 'three')
        verdict(*strict, *args, 'two', 'two')
        verdict(*strict, 'one', 'four.qcow2')
    poke('three', 3 * MIB + 511, b'x')
    assert 'mismatch at offset %d!' % (3 * MIB) in verdict(*args, 'two', 'three', status=1)
    poke('one', 1000, b'x')
    assert 'Warning' not in verdict(*args, 'one', 'two', status=1)


def run_progress():
    create('x', 4 * MIB)
    qemu_io('x', ['write -q -P 1 0 3M'])
    shutil.copy('x', 'y')
    out = good(IMAGO, 'compare', '-p', 'x', 'y').out
    assert '(0.00/100%)' in out and '(100.00/100%)' in out and out.endswith('Images are identical.\n'), out
    equal(good(IMAGO, 'compare', '-p', '-q', 'x', 'y').out, '')


def run_statuses():
    create('x', 4 * MIB)
    qemu_io('x', ['write -q -P 1 0 3M', 'write -q -c -P 2 3M 64k'])
    good('qemu-img', 'convert', '-O', 'raw', 'x', 'y')
    for args, status in ((['x'], 1), ([], 1), (['x', 'y', 'y'], 1), (['-x', 'x', 'y'], 1), (['-T', 'bad', 'x', 'y'], 2),
                         (['x', 'missing'], 2), (['missing', 'x'], 2), (['-F', 'qcow2', 'x', 'y'], 2),
                         (['-f', 'nosuch', 'x', 'y'], 2)):
        assert_fails(run(IMAGO, 'compare', *args), status=status)
        equal(run('qemu-img', 'compare', *args).status, status, args)
    for args in (['-T', 'none', 'x', 'y'], ['-U', 'x', 'y'], ['-U', 'x', 'x'], ['-f', 'qcow2', '-F', 'raw', 'x', 'y']):
        equal(good(IMAGO, 'compare', *args).out, good('qemu-img', 'compare', *args).out)


def run_damage():
    """What cannot be mapped is 3, what cannot be read is 4; nothing is called identical or different."""
    create('x', 4 * MIB)
    qemu_io('x', ['write -q -c -P 2 3M 64k', 'write -q -P 1 0 64k'])
    good('qemu-img', 'convert', '-O', 'raw', 'x', 'y')
    with open('x', 'rb') as file:
        content = bytearray(file.read())
    l1 = int.from_bytes(content[40:48], 'big')
    l2 = int.from_bytes(content[l1:l1 + 8], 'big') & 0x00fffffffffffe00
    entry = int.from_bytes(content[l2 + 48 * 8:l2 + 48 * 8 + 8], 'big')
    stream = entry & ((1 << 54) - 1)
    shutil.copy('x', 'bad stream')
    poke('bad stream', stream, b'\xff' * 40)
    shutil.copy('x', 'bad table')
    poke('bad table', l1, (l2 | 1 << 63 | 512).to_bytes(8, 'big'))
    for name, status in (('bad stream', 4), ('bad table', 3)):
        for files in ((name, 'y'), ('y', name)):
            result = run(IMAGO, 'compare', *files)
            assert_fails(result, status=status)
            equal(result.out, '')
            shutil.copy(name, 'copy')
            theirs = run('qemu-img', 'compare', *[file if file == 'y' else 'copy' for file in files])
            assert theirs.status > 1, theirs
    # A difference before it is a verdict.
    poke('y', 1000, b'!')
    assert 'mismatch at offset 512!' in run(IMAGO, 'compare', 'bad stream', 'y').out


if __name__ == '__main__':
    shard, shards = int(sys.argv[1]), int(sys.argv[2])
    cases, pairs = combinations.generate()
    diagnose('%d combinations, %d pairs of values; this is shard %d of %d' % (len(cases), pairs, shard + 1, shards))
    for index, chosen in enumerate(cases):
        if index % shards == shard:
            add_test(name_of(chosen), lambda chosen=chosen, index=index: run_case(chosen, index))
    if shard == 0:
        add_test('kinds of blocks', run_strict)
        add_test('sizes', run_sizes)
        add_test('progress', run_progress)
        add_test('exit statuses', run_statuses)
        add_test('damage', run_damage)
    main(needs=['qemu-img', 'qemu-io'])
