# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Compares what the command and qemu-img say of one image."""

import os

from imagotest import IMAGO, diagnose, equal, good, qemu_text_is_known, same_content, without_later_keys

ENTRY_KEYS = ['depth', 'present', 'zero', 'data']

# ---- where the map may differ from qemu-img's, and why ----


def without_holes_in_clusters(entries):
    """Clusters that qcow2 maps as data may be holes of the file, which reads as zero: "zero" and "data" both.

    Whether to ask the file system for them at all is a guess by both programs: qemu-img counts refcounts,
    which takes a scan of the whole refcount structure, and compares them with the allocated size; the library
    compares the size of the file with it. And the answer of the file system depends on which unwritten
    blocks happen to be in the page cache. So "zero" may differ where "data" is true.
    """
    for entry in entries:
        if entry['data']:
            entry['zero'] = False
    return entries


JUSTIFIED = [without_holes_in_clusters]


def merged(entries):
    """Joins neighbours that say the same: how long a run is, is nobody's business."""
    result = []
    for entry in entries:
        last = result[-1] if result else None
        if (last and all(last[key] == entry[key] for key in ENTRY_KEYS) and ('offset' in last) == ('offset' in entry)
                and last['start'] + last['length'] == entry['start']
                and ('offset' not in last or last['offset'] + last['length'] == entry['offset'])):
            last['length'] += entry['length']
        else:
            result.append(dict(entry))
    return result


def check_cover(entries, size):
    """The entries cover the disk without gap or overlap."""
    position = 0
    for entry in entries:
        equal(entry['start'], position)
        assert entry['length'] > 0 or size == 0, entry
        position += entry['length']
    equal(position, size)


def compare_entries(mine, theirs, what):
    for one, other in zip(mine, theirs):
        equal(one, other, what)
    equal(len(mine), len(theirs), what)


def compare_map(image, *options, strict=False):
    """Returns the map; with @strict no difference is justified."""
    mine = good(IMAGO, 'map', '--output=json', *options, image).json()
    theirs = good('qemu-img', 'map', '--output=json', *options, image).json()
    theirs = without_later_keys(theirs)
    check_cover(mine, sum(entry['length'] for entry in theirs))
    result = mine = merged(mine)
    theirs = merged(theirs)
    if mine != theirs and not strict:
        for justify in JUSTIFIED:
            mine, theirs = merged(justify([dict(entry) for entry in mine])), merged(justify(theirs))
        diagnose('a map of %s differs where that is justified' % image)
    compare_entries(mine, theirs, 'map of %s' % image)
    return result


def check_zeroes(entries, content):
    """What the map calls zero is zero."""
    with open(content, 'rb') as file:
        for entry in entries:
            if entry['zero']:
                position, end = entry['start'], entry['start'] + entry['length']
                while position < end:
                    data = os.pread(file.fileno(), min(1 << 20, end - position), position)
                    assert data.count(0) == len(data) > 0, 'not zero: %s' % entry
                    position += len(data)


def compare_info(image, *options):
    for chain in [(), ('--backing-chain',)]:
        mine = good(IMAGO, 'info', '--output=json', *chain, *options, image).json()
        theirs = good('qemu-img', 'info', '--output=json', *chain, *options, image).json()
        equal(mine, without_later_keys(theirs), 'info of %s' % image)
    if qemu_text_is_known():
        equal(good(IMAGO, 'info', *options, image).out, good('qemu-img', 'info', *options, image).out)
    return mine


def compare_content(image, *options, entries=()):
    good(IMAGO, 'convert', '-t', 'unsafe', *options, image, 'mine.out')
    good('qemu-img', 'convert', '-O', 'raw', *options, image, 'theirs.out')
    same_content('mine.out', 'theirs.out')
    check_zeroes(entries, 'theirs.out')
    os.unlink('mine.out')
    os.unlink('theirs.out')


def compare_snapshots(image):
    equal(good(IMAGO, 'snapshot', '-l', image).out, good('qemu-img', 'snapshot', '-l', image).out)
    info = good('qemu-img', 'info', '--output=json', image).json()
    for snapshot in info.get('snapshots', []):
        compare_content(image, '-l', snapshot['id'])


def compare_all(image):
    compare_info(image)
    entries = compare_map(image)
    compare_content(image, entries=entries)
    compare_snapshots(image)
    return entries
