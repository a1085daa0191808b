# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Images with one fault each: the verdict and the counts of "imago check" are those of qemu-img; a repair leaves what
qemu-img finds sound, guest data as it was, and nothing for a second one to do, and tells what a repair by qemu-img tells.

    test-check.py check|repair SHARD SHARDS
"""

import collections
import hashlib
import json
import random
import re
import sys

import faulty
from imagotest import IMAGO, add_test, diagnose, equal, imago, main, qemu_version, run

CHECKED = 1008  # images, over all shards
REPAIRED = 240
COUNTS = ['check-errors', 'corruptions', 'leaks', 'image-end-offset', 'total-clusters', 'allocated-clusters',
          'fragmented-clusters', 'compressed-clusters']
WRONG = ['check-errors', 'corruptions', 'leaks']
FIXED = ['corruptions-fixed', 'leaks-fixed']

mode, shard, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
reached = collections.Counter()
differences = collections.Counter()
equal_repairs = collections.Counter()

# ---- differences, and why ----

REASONS = {
    'bitmap': 'qemu-img cannot open an image with a damaged bitmap table; imago check counts what is wrong in it',
    'cut': 'an L1 table or a bitmap directory that the file does not have any more reads as zero in QEMU; the library '
           'does not open such an image, so that its check has no verdict either',
    'table': 'a refcount table that is nowhere makes qemu-img give up; imago check goes on, and can repair it',
}


def explain(fault, mine, theirs):
    """Why one of the two has no verdict; None if there is no good reason."""
    if mine.get('error') and not theirs.get('error') and fault == 'end_missing' and 'outside the file' in mine['error']:
        return 'cut'
    if theirs.get('error') and not mine.get('error'):
        if 'bitmap' in theirs['error']:
            return 'bitmap'
        if fault == 'refcount_table_elsewhere' or fault == 'refcount_table_size':
            return 'table'
    return None


# ---- asking both ----

def verdict(result, counts=COUNTS):
    if not result.out.strip():
        return {'error': result.err.strip() or 'nothing said'}
    report = json.loads(result.out)
    return dict({name: report.get(name, 0) for name in counts}, status=result.status)


def run_imago(name, *options):
    return imago('check', '-f', 'qcow2', '--output=json', *options, name)


def run_qemu(name, *options):
    return run('timeout', '20', 'qemu-img', 'check', '-f', 'qcow2', '--output=json', *options, name)


def ask_imago(name, *options):
    return verdict(run_imago(name, *options))


def ask_qemu(name):
    return verdict(run_qemu(name))


# What each program says of single clusters; that the order differs, and that other findings have words of their own,
# is nobody's business.
SINGLE = re.compile(r'(?:Leaked cluster|ERROR cluster|ERROR OFLAG_COPIED) .*')
MOST_MESSAGES = 1000  # that imago check prints


def single_clusters(result):
    # A warning of qemu-img has no end of line.
    return collections.Counter(SINGLE.findall(result.err))


def compare_texts(mine, theirs, what):
    one, other = single_clusters(mine), single_clusters(theirs)
    if len(mine.err.splitlines()) > MOST_MESSAGES:
        reached['too many messages'] += 1
        return
    # One line of ours may stand for several equal ones: shared tables are walked once.
    equal(set(one), set(other), what)
    reached['same lines'] += len(one)


def compare_one(name, fault, what):
    my_result, their_result = run_imago(name), run_qemu(name)
    mine, theirs = verdict(my_result), verdict(their_result)
    reached['images'] += 1
    if mine.get('error') and theirs.get('error'):
        reached['refused by both'] += 1
        return
    if mine == theirs:
        compare_texts(my_result, their_result, '%s, %s' % (what, fault))
        return
    reason = explain(fault, mine, theirs)
    assert reason is not None, '%s, %s:\n  imago: %r\n  qemu-img: %r' % (what, fault, mine, theirs)
    differences[reason] += 1


def write(name, data):
    with open(name, 'wb') as file:
        file.write(data)


def check_kind(kind, n):
    def check():
        sound = faulty.make(kind)
        write('image.qcow2', sound)
        compare_one('image.qcow2', 'none', kind[0])
        equal(ask_imago('image.qcow2')['status'], 0)
        for i in range(n):
            data, fault = faulty.damage(sound, random.Random('%s %d' % (kind[0], i)))
            write('image.qcow2', data)
            compare_one('image.qcow2', fault, '%s %d' % (kind[0], i))
    return check


# ---- repairing ----

def guest_data(name):
    """A digest of the disk; None if it cannot be read."""
    result = run('timeout', '20', 'qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', name, 'guest.raw')
    if result.status:
        return None
    with open('guest.raw', 'rb') as file:
        return hashlib.sha256(file.read()).digest()


def n_wrong(report):
    return report['corruptions'] + report['check-errors']


# Why a repair by qemu-img may tell something else.
REPAIR_REASONS = {
    'bitmap': 'qemu-img cannot open an image with a damaged bitmap table',
    'cut': REASONS['cut'],
    'gives up': 'qemu-img ends without any counts: where the refcount structure must be rebuilt and it may repair leaks '
                'only, and where the new structure would lie upon the old one, or that cannot be read',
    'snapshots': 'qemu-img loses the snapshots of an image with bitmaps while it repairs it, see test-check-snapshots.py',
    'better': 'qemu-img leaves more mistakes behind, or makes some: reserved bits, and flags of what it has found leaked',
    'place': 'a new refcount structure goes behind the end of the file, where a crash cannot hurt the old one; and it is '
             'made when the old one cannot be repaired only',
    'upon': 'qemu-img repairs tables that lie upon the header or guest data, which change with them; imago does not',
    'passes': 'qemu-img makes the file longer for a refcount block that was outside, and counts a cluster more; and it '
              'does not count the second mistake in an entry that it replaces',
}
# Of the images of each shard, with "-r all" and "-r leaks".
LEAST_EQUAL = [(13, 6), (22, 12), (14, 7), (14, 7), (21, 11), (7, 2)]


def explain_repair(kind, fault, mine, theirs, left):
    """Why the two differ; None if there is no good reason. @left: what qemu-img still finds in its own."""
    if theirs.get('error') or mine.get('error'):
        reason = explain(fault, mine, theirs)
        return reason if reason in ('bitmap', 'cut') else theirs.get('error') and 'gives up'
    different = {key for key in mine if mine[key] != theirs[key]}
    if kind[3] and kind[4]:
        return 'snapshots'
    if n_wrong(mine) < n_wrong(left) and mine['leaks'] <= left['leaks']:
        return 'better'
    if different == {'image-end-offset'} and mine['status'] == 0:
        return 'place'
    if n_wrong(mine) > n_wrong(left) > 0 and fault in ('l1_elsewhere', 'l1_size'):
        return 'upon'
    if (different <= {'corruptions-fixed', 'image-end-offset'} and mine['status'] == 0 and
            fault in ('block_elsewhere', 'block_too_many', 'l2_random', 'l2_unaligned_zero')):
        return 'passes'
    return None


def compare_repairs(kind, fault, mine, kind_of_repair, what):
    """The same damaged image is in theirs.qcow2."""
    theirs = verdict(run_qemu('theirs.qcow2', '-r', kind_of_repair), COUNTS + FIXED)
    if mine == theirs or (mine.get('error') and theirs.get('error')):
        equal_repairs[kind_of_repair] += 1
        return
    reason = explain_repair(kind, fault, mine, theirs, ask_qemu('theirs.qcow2'))
    assert reason, '%s, -r %s:\n  imago: %r\n  qemu-img: %r' % (what, kind_of_repair, mine, theirs)
    differences[reason] += 1


def repair_one(name, kind, fault, what, kind_of_repair):
    before, guest = ask_qemu(name), guest_data(name)
    mine = verdict(run_imago(name, '-r', kind_of_repair), COUNTS + FIXED)
    compare_repairs(kind, fault, mine, kind_of_repair, what)
    if mine.get('error') or before.get('error'):
        reached['without a verdict'] += 1
        return
    reached['repaired'] += 1
    after = ask_qemu(name)
    equal([mine[key] for key in WRONG], [after[key] for key in WRONG], what)
    assert n_wrong(after) <= n_wrong(before), '%s: %r became %r' % (what, before, after)
    reached['sound afterwards'] += n_wrong(after) == 0 and after['leaks'] == 0
    if guest is not None:
        equal(guest_data(name), guest, what + ': the disk has changed')
        reached['disks compared'] += 1
    with open(name, 'rb') as file:
        repaired = file.read()
    ask_imago(name, '-r', kind_of_repair)
    with open(name, 'rb') as file:
        assert file.read() == repaired, what + ': a second repair found something to do'


def must_become_sound(kind, fault):
    """Faults that leave no doubt about what was there."""
    if fault == 'l2_unaligned_zero' and 'extended' in kind[0]:
        return False  # the bit means nothing there: subclusters may have data
    return fault in ('refcount_higher', 'refcount_lower', 'refcount_of_nothing', 'refcount_largest',
                     'refcounts_of_a_range', 'block_missing', 'block_unaligned', 'block_reserved_bits', 'l1_copied',
                     'l1_reserved_bits', 'l1_dropped', 'l2_copied', 'l2_reserved_bits', 'l2_dropped',
                     'l2_unaligned_zero', 'refcount_table_none', 'marks', 'end_longer', 'bitmaps_stale')


def repair_kind(kind, n):
    def repair():
        sound = faulty.make(kind)
        for i in range(n):
            data, fault = faulty.damage(sound, random.Random('repair %s %d' % (kind[0], i)))
            what = '%s %d, %s' % (kind[0], i, fault)
            kind_of_repair = 'leaks' if i % 3 == 2 else 'all'
            for name in 'image.qcow2', 'theirs.qcow2':
                write(name, data)
            repair_one('image.qcow2', kind, fault, what, kind_of_repair)
            if kind_of_repair == 'all' and must_become_sound(kind, fault):
                equal(ask_qemu('image.qcow2')['status'], 0, what)
                reached['as they must'] += 1
    return repair


def totals():
    diagnose(', '.join('%d %s' % (n, what) for what, n in sorted(reached.items())))
    for reason, n in sorted(differences.items()):
        diagnose('%d differ: %s' % (n, (REASONS if mode == 'check' else REPAIR_REASONS)[reason]))
    for kind_of_repair, n in sorted(equal_repairs.items()):
        diagnose('-r %s: %d images with equal counts' % (kind_of_repair, n))
    if mode == 'check':
        equal(reached['images'], len(kinds) * (each + 1))
        assert reached['same lines'] > 500, reached
    else:
        if qemu_version() < (8, 0):
            least = LEAST_EQUAL[shard]
            assert equal_repairs['all'] >= least[0] and equal_repairs['leaks'] >= least[1], least
        assert reached['sound afterwards'] > reached['repaired'] // 2, reached


kinds = faulty.KINDS[shard::shards]
total = CHECKED if mode == 'check' else REPAIRED
each = -(-total // len(faulty.KINDS))
for kind in kinds:
    add_test('%s %s' % (mode, kind[0]), (check_kind if mode == 'check' else repair_kind)(kind, each))
add_test('totals', totals)
main(needs=['qemu-img', 'qemu-io', IMAGO, 'timeout'])
