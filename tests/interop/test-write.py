# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The same changes by imago io and by qemu-io, on the images of the matrix: argument 1 is the shard, 2 their number.

Each case makes one image, copies it, and changes the one with imago io and the other with qemu-io: both must
hold the same disk, and qemu-img must find nothing wrong with ours. Then the two programs take turns on one
image, and a raw disk that qemu-io changes in the same way says what it must hold.
"""

import os
import random
import shutil
import sys

import combinations
from cases import compressed, create_options, make_backing, make_noise, name_of, ordinary
from imagotest import IMAGO, add_test, create, diagnose, equal, good, main, qemu_io, run

ROUNDS = 50
KIB = 1024


def imago_io(image, commands, *options):
    args = [IMAGO, 'io', *options]
    for command in commands:
        args += ['-c', command]
    result = good(*args, image)
    assert 'failed' not in result.out, result
    return result


def check_clean(image):
    result = run('qemu-img', 'check', '-f', 'qcow2', image)
    equal(result.status, 0, result)


def same_disk(one, other, format):
    good('qemu-img', 'compare', '-f', 'qcow2', '-F', format, one, other)


def has_zero_clusters(case):
    return case['version'] == 3 or case['backing'] == 'none'


def copy_image(case, source, copy):
    """With its data file, which the copy has to name."""
    shutil.copyfile(source, copy)
    if case['data_file'] != 'none':
        shutil.copyfile('data.raw', 'theirs.raw')
        with open(copy, 'r+b') as file:
            head = file.read(case['cluster'])
            # Names of the same length, so that nothing moves: once in the header's extension.
            at = head.index(b'data.raw')
            file.seek(at)
            file.write(b'their.rw')
        os.rename('theirs.raw', 'their.rw')


def snapshots_of(image):
    return good('qemu-img', 'info', '--output=json', image).json().get('snapshots', [])


def contents_of_snapshots(image):
    result = []
    for snapshot in snapshots_of(image):
        good('qemu-img', 'convert', '-l', snapshot['id'], '-O', 'raw', image, 'snapshot.out')
        with open('snapshot.out', 'rb') as file:
            result.append(file.read())
    return result


def prepare(case, rng):
    make_noise()
    backing = make_backing(case, rng)
    create('mine.qcow2', case['size'], 'qcow2', create_options(case), backing)
    qemu_io('mine.qcow2', ordinary(rng, case['size'], has_zero_clusters(case), 4), '-f', 'qcow2')
    for i in range(case['snapshots']):
        good('qemu-img', 'snapshot', '-c', 'snapshot %d' % i, 'mine.qcow2')
        qemu_io('mine.qcow2', ordinary(rng, case['size'], has_zero_clusters(case), 3), '-f', 'qcow2')


def side_by_side(case, rng):
    """One list of changes, two programs, one result."""
    copy_image(case, 'mine.qcow2', 'theirs.qcow2')
    before = contents_of_snapshots('mine.qcow2')
    commands = ordinary(rng, case['size'], has_zero_clusters(case), 40)
    imago_io('mine.qcow2', commands, '-f', 'qcow2')
    qemu_io('theirs.qcow2', commands, '-f', 'qcow2')
    check_clean('mine.qcow2')
    same_disk('mine.qcow2', 'theirs.qcow2', 'qcow2')
    equal(contents_of_snapshots('mine.qcow2'), before, 'snapshots')


# ---- zeroes that are not written as data ----


def outcomes(program, image, commands):
    """For each command whether it worked."""
    args = [arg for command in commands for arg in ('-c', command)]
    lines = run(*program, '-f', 'qcow2', *args, image).out.splitlines()
    result = [line.startswith('wrote') for line in lines if line.startswith(('wrote', 'write failed'))]
    equal(len(result), len(commands), lines)
    for line in lines:
        if line.startswith('write failed'):
            assert line.endswith('Operation not supported'), line
    return result


def why_only_mine(case):
    """Where zeroes without a fallback work with imago io alone, and why that is right."""
    if case['version'] == 2:
        return 'qemu-io refuses each such request on version 2; what takes no data there is not refused by imago io'
    if case['data_file'] == 'raw':
        return 'what reads as zero already, in the data file too, need not be changed'
    return 'a part of a cluster that reads as zero needs nothing, whatever the rest of the cluster holds'


def zero_ranges(rng, size, unit):
    """Inside one cluster or subcluster each, so that it works or changes nothing."""
    for _ in range(24):
        start = rng.randrange(size // unit) * unit
        end = min(start + unit, size)
        if rng.random() < 0.6:
            start += rng.randrange(unit // 512) * 512
        if rng.random() < 0.5:
            end = rng.randrange(start, end, 512) + 512
        yield start, end - start


def why_only_theirs(case, entries, start):
    """Where they work with qemu-io alone, and why that is right; None if it is not."""
    cluster = case['cluster']
    start -= start % cluster
    if case['data_file'] == 'raw':
        return 'imago io writes them into a raw data file and leaves the map alone, so that it says data later'
    if any(entry['data'] and entry['zero'] and entry['start'] < start + cluster and
           entry['start'] + entry['length'] > start for entry in entries):
        return ('whether to look for holes in what a qcow2 file maps as data is a guess by either program'
                ' (without_holes_in_clusters in interop.py)')
    return None


def check_outcomes(case, commands, ranges, mine, theirs):
    entries = good('qemu-img', 'map', '--output=json', '-f', 'qcow2', 'model.qcow2').json()
    only_mine = [command for command, one, other in zip(commands, mine, theirs) if one and not other]
    only_theirs = [place for place, one, other in zip(ranges, mine, theirs) if other and not one]
    reasons = {place: why_only_theirs(case, entries, place[0]) for place in only_theirs}
    equal([place for place in only_theirs if reasons[place] is None], [], 'works in qemu-io alone')
    if only_mine:
        diagnose('%d of %d work with imago io alone: %s' % (len(only_mine), len(commands), why_only_mine(case)))
    if only_theirs:
        diagnose('%d of %d work with qemu-io alone: %s' % (len(only_theirs), len(commands), reasons[only_theirs[0]]))


def zero_without_fallback(case, rng):
    shutil.copyfile('mine.qcow2', 'model.qcow2')
    copy_image(case, 'mine.qcow2', 'theirs.qcow2')
    good('qemu-img', 'convert', '-O', 'raw', 'mine.qcow2', 'model.raw')
    ranges = list(zero_ranges(rng, case['size'], case['cluster'] // (32 if case['extended_l2'] else 1)))
    commands = ['write -z -n%s %d %d' % (rng.choice(['', 'u']), *place) for place in ranges]
    mine = outcomes([IMAGO, 'io'], 'mine.qcow2', commands)
    theirs = outcomes(['qemu-io'], 'theirs.qcow2', commands)
    check_outcomes(case, commands, ranges, mine, theirs)
    qemu_io('model.raw', ['write -q -z %d %d' % place for place, worked in zip(ranges, mine) if worked], '-f', 'raw')
    check_clean('mine.qcow2')
    same_disk('mine.qcow2', 'model.raw', 'raw')


def write_compressed(case, rng):
    """On an empty image of the same kind, as clusters can be written compressed only once by qemu-io."""
    create('packed.qcow2', case['size'], 'qcow2', create_options(case))
    commands = compressed(rng, case['size'], case['cluster'])
    imago_io('packed.qcow2', commands, '-f', 'qcow2')
    check_clean('packed.qcow2')
    create('packed.raw', case['size'], 'raw')
    qemu_io('packed.raw', [command.replace('-c ', '') for command in commands], '-f', 'raw')
    same_disk('packed.qcow2', 'packed.raw', 'raw')


def as_raw(commands):
    """What a discard leaves is defined in none of the programs alone: the turns do without."""
    return [command.replace('-z -u', '-z') for command in commands if not command.startswith('discard')]


def take_turns(case, rng, rounds):
    good('qemu-img', 'convert', '-O', 'raw', 'mine.qcow2', 'model.raw')
    everything = []
    for turn in range(rounds):
        commands = [command for command in ordinary(rng, case['size'], has_zero_clusters(case), 4)
                    if not command.startswith('discard')]
        (imago_io if turn % 2 == 0 else qemu_io)('mine.qcow2', commands, '-f', 'qcow2')
        everything += as_raw(commands)
    qemu_io('model.raw', everything, '-f', 'raw')
    check_clean('mine.qcow2')
    same_disk('mine.qcow2', 'model.raw', 'raw')


def run_case(case, number, rounds):
    rng = random.Random(number + 1000)
    prepare(case, rng)
    zero_without_fallback(case, rng)
    side_by_side(case, rng)
    if case['data_file'] == 'none' and case['backing'] == 'none' and case['preallocation'] == 'off':
        write_compressed(case, rng)
    take_turns(case, rng, rounds)


if __name__ == '__main__':
    shard, shards = int(sys.argv[1]), int(sys.argv[2])
    cases, pairs = combinations.generate()
    mine = [(index, case) for index, case in enumerate(cases) if index % shards == shard]
    diagnose('%d combinations, %d pairs of values; this is shard %d of %d' % (len(cases), pairs, shard + 1, shards))
    assert len(cases) >= 60, len(cases)
    for position, (index, chosen) in enumerate(mine):
        # One case of each shard goes the long way.
        turns = ROUNDS if position == 0 else 6
        add_test(name_of(chosen), lambda chosen=chosen, index=index, turns=turns: run_case(chosen, index, turns))
    main(needs=['qemu-img', 'qemu-io'])
