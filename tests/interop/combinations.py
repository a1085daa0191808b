# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Combinations of the create options of qemu-img such that each two values that go together occur together."""

import itertools
import random

SEED = 20260701
KIB = 1024
MIB = 1024 * KIB

PARAMETERS = {
    'version': [3, 2],
    'cluster': [512, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 2 * MIB],
    'refcount_bits': [1, 2, 4, 8, 16, 32, 64],
    'compression': ['zlib', 'zstd'],
    'extended_l2': [False, True],
    'data_file': ['none', 'plain', 'raw'],
    'lazy': [False, True],
    'preallocation': ['off', 'metadata', 'falloc', 'full'],
    # From the top down; "short" and "long" against the overlay.
    'backing': ['none', 'raw short', 'raw long', 'qcow2 short', 'qcow2 long', 'qcow2 raw', 'qcow2 qcow2 raw',
                'raw equal'],
    'size': [3 * MIB, 5 * MIB + 512, 8 * MIB - 512, 4 * MIB + 66048],
    'snapshots': [0, 1, 3],
}


def is_valid(case):
    """What qemu-img would refuse, or what means nothing."""
    old = case['version'] == 2
    data_file = case['data_file'] != 'none'
    backing = case['backing'] != 'none'
    return not any([
        old and (case['refcount_bits'] != 16 or case['compression'] != 'zlib' or case['extended_l2'] or data_file
                 or case['lazy']),
        case['extended_l2'] and case['cluster'] < 16 * KIB,
        data_file and (case['snapshots'] > 0 or case['compression'] != 'zlib'),
        case['data_file'] == 'raw' and (backing or case['preallocation'] == 'off'),
        backing and case['preallocation'] != 'off' and not case['extended_l2'],
        # A cluster in n snapshots has n + 1 references.
        case['snapshots'] + 1 > 2 ** case['refcount_bits'] - 1,
    ])


def pairs_of(case):
    return set(itertools.combinations(sorted(case.items()), 2))


def complete(partial, rng, parameters, valid):
    """A valid case with the values of @partial, or None."""
    names = [name for name in parameters if name not in partial]
    for _ in range(400):
        case = dict(partial)
        for name in names:
            case[name] = rng.choice(parameters[name])
        if valid(case):
            return case
    return None


def generate(parameters=None, valid=is_valid):
    """The list of cases and the number of pairs they cover; the same each time."""
    parameters = parameters or PARAMETERS
    rng = random.Random(SEED)
    wanted = set()
    for (one, values), (other, others) in itertools.combinations(sorted(parameters.items()), 2):
        for pair in itertools.product(values, others):
            wanted.add(((one, pair[0]), (other, pair[1])))
    covered = set()
    cases = []
    for pair in sorted(wanted, key=str):
        if pair in covered:
            continue
        first = complete(dict(pair), rng, parameters, valid)
        if first is None:
            continue
        candidates = [first] + [complete(dict(pair), rng, parameters, valid) or first for _ in range(24)]
        best = max(candidates, key=lambda case: len(pairs_of(case) - covered))
        covered |= pairs_of(best)
        cases.append(best)
    return cases, len(covered)
