# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""qcow2 images with all options of qemu-img create, filled by qemu-io: argument 1 is the shard, 2 their number."""

import random
import sys

import combinations
from cases import KIB, compressed, create_options, make_backing, make_noise, name_of, ordinary
from imagotest import add_test, create, diagnose, good, main, qemu_io
from interop import compare_all, compare_info, compare_map


def fill(name, case, rng):
    commands = []
    # Streams share clusters, and so use up the references that snapshots need.
    narrow = case['refcount_bits'] == 2 and case['snapshots'] > 0
    if case['data_file'] == 'none' and case['preallocation'] == 'off' and not narrow:
        commands += compressed(rng, case['size'], case['cluster'])
    zero_clusters = case['version'] == 3 or case['backing'] == 'none'
    commands += ordinary(rng, case['size'], zero_clusters)
    qemu_io(name, commands, '-f', 'qcow2')
    for i in range(case['snapshots']):
        good('qemu-img', 'snapshot', '-c', 'snapshot %d' % i, name)
        qemu_io(name, ordinary(rng, case['size'], zero_clusters, 5), '-f', 'qcow2')


def run_case(case, number):
    rng = random.Random(number)
    make_noise()
    backing = make_backing(case, rng)
    create('top.qcow2', case['size'], 'qcow2', create_options(case), backing)
    compare_info('top.qcow2')
    compare_map('top.qcow2')
    fill('top.qcow2', case, rng)
    entries = compare_all('top.qcow2')
    # An image full of one thing would prove nothing; but of the largest clusters there are two or three.
    assert len(entries) > (3 if case['cluster'] < 1024 * KIB else 0), entries
    assert any(entry['data'] for entry in entries), entries


if __name__ == '__main__':
    shard, shards = int(sys.argv[1]), int(sys.argv[2])
    cases, pairs = combinations.generate()
    assert len(cases) >= 60, len(cases)
    diagnose('%d combinations, %d pairs of values; this is shard %d of %d' % (len(cases), pairs, shard + 1, shards))
    for index, chosen in enumerate(cases):
        if index % shards == shard:
            add_test(name_of(chosen), lambda chosen=chosen, index=index: run_case(chosen, index))
    main(needs=['qemu-img', 'qemu-io'])
