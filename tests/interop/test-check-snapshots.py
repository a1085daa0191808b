# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Snapshot tables beyond the limits and with incomplete entries: "imago check" with and without a repair says and does
what qemu-img does with the same image; a second repair finds nothing.

    test-check-snapshots.py other|KIND-WITH-TOO-MANY
"""

import functools
import json
import shutil
import sys

import faulty
from imagotest import IMAGO, add_test, diagnose, equal, imago, main, run

COUNTS = ['check-errors', 'corruptions', 'leaks', 'corruptions-fixed', 'leaks-fixed']


def verdict(result):
    if not result.out.strip():
        return {'status': result.status}
    report = json.loads(result.out)
    return dict({name: report.get(name, 0) for name in COUNTS}, status=result.status)


def qemu_check(*args):
    return run('timeout', '60', 'qemu-img', 'check', '-f', 'qcow2', '--output=json', *args)


def imago_check(*args):
    return imago('check', '-f', 'qcow2', '--output=json', *args)


def read(name):
    with open(name, 'rb') as file:
        return file.read()


def entries(name):
    """Fixed part but for the length of the extra data; extra data, id and name."""
    image = faulty.Image(read(name))
    result = []
    for at in image.snapshot_places():
        length = image.get32(at + 36)
        end = at + 40 + length + int.from_bytes(image.data[at + 12:at + 14], 'big') + \
            int.from_bytes(image.data[at + 14:at + 16], 'big')
        result.append((bytes(image.data[at:at + 36]), length, bytes(image.data[at + 40:end])))
    return result


def compare_repairs(what, *options):
    """The same damaged image in mine.qcow2 and theirs.qcow2."""
    theirs, mine = qemu_check(*options, 'theirs.qcow2'), imago_check(*options, 'mine.qcow2')
    equal(verdict(mine), verdict(theirs), '%s %s' % (what, ' '.join(options)))
    return verdict(mine)


@functools.lru_cache(maxsize=None)
def make_once(kind):
    return faulty.make(kind)


def snapshots(kind, fault, index):
    def test():
        image = faulty.Image(make_once(kind))
        fault(image, index % image.n_snapshots)
        for name in 'mine.qcow2', 'theirs.qcow2', 'damaged.qcow2':
            with open(name, 'wb') as file:
                file.write(image.data)
        compare_repairs('check')
        equal(read('mine.qcow2'), read('damaged.qcow2'), 'a check has changed something')
        compare_repairs('leaks', '-r', 'leaks')
        for name in 'mine.qcow2', 'theirs.qcow2':
            shutil.copyfile('damaged.qcow2', name)
        if fault is faulty.snapshot_beyond_the_table:
            # qemu-img gives up in the middle: it finds no place for its new table.
            equal(verdict(imago_check('-r', 'all', 'mine.qcow2'))['status'], 0)
        else:
            compare_repairs('all', '-r', 'all')
        after = verdict(qemu_check('mine.qcow2'))
        equal(after, dict(dict.fromkeys(COUNTS, 0), status=0), 'qemu-img on what was repaired')
        if fault is faulty.snapshot_beyond_the_table:
            equal(faulty.Image(read('mine.qcow2')).n_snapshots, 0)
        else:
            mine, theirs = entries('mine.qcow2'), entries('theirs.qcow2')
            equal(len(mine), len(theirs))
            assert mine == theirs, 'the tables differ'
        repaired = read('mine.qcow2')
        equal(verdict(imago_check('-r', 'all', 'mine.qcow2'))['status'], 0)
        assert read('mine.qcow2') == repaired, 'a second repair found something to do'
    return test


def loses_snapshots():
    """Whether it still does; "imago check -r" does not."""
    kind = next(kind for kind in faulty.KINDS if kind[3] > 0 and kind[4])
    sound = faulty.make(kind)
    for name in 'mine.qcow2', 'theirs.qcow2':
        with open(name, 'wb') as file:
            file.write(sound)
    qemu_check('-r', 'leaks', 'theirs.qcow2')
    equal(verdict(imago_check('-r', 'all', 'mine.qcow2')), dict(dict.fromkeys(COUNTS, 0), status=0))
    equal(read('mine.qcow2'), sound, 'a repair of a sound image')
    diagnose('qemu-img check -r left %d of %d snapshots' % (faulty.Image(read('theirs.qcow2')).n_snapshots, kind[3]))


part = sys.argv[1]
if part == 'other':
    add_test('a repair of an image with bitmaps keeps its snapshots', loses_snapshots)
for kind in faulty.KINDS:
    # Extra data of some hundred bytes must fit into the cluster of the table, so that no other one is hit.
    if kind[3] == 0 or 'cluster_size=512' in kind[1] or 'refcount_bits' in kind[1]:
        continue
    # Where there are bitmaps too, "qemu-img check -r" loses all snapshots of a sound image: it opens without reading the
    # snapshot table, marks the bitmaps as in use, and the header that it writes for that has no snapshots. What they
    # had is "leaked" then, and let go. See loses_snapshots ().
    if kind[4]:
        continue
    for fault in faulty.SNAPSHOT_FAULTS:
        # Many entries take their time, qemu-img a second for each three thousand; one cluster size is enough, in both
        # versions, each in a run of its own.
        if part != (kind[0] if fault is faulty.snapshots_too_many else 'other'):
            continue
        add_test('%s %s' % (kind[0], fault.__name__), snapshots(kind, fault, kind[3] - 1))
main(needs=['qemu-img', 'qemu-io', IMAGO, 'timeout'])
