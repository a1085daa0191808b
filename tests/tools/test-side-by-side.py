# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Every subcommand and option beside qemu-img and qemu-io; see sidebyside.py for the cases."""

import importlib.util
import os
import sys

import sidebyside
from imagotest import add_test, diagnose, equal, main, qemu_version, Skip

MINIMUM = 250
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'side-by-side')

counts = {}


def load(name):
    """The cases in one file."""
    sidebyside.cases = []
    spec = importlib.util.spec_from_file_location('cases_' + name.replace('-', '_'), os.path.join(FOLDER, name + '.py'))
    # The functions that the file imports append to the list of the moment.
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return sidebyside.cases


def check_one(this, folders):
    """Returns whether all is as it shall be."""
    linked, mine = sidebyside.run_case(this, folders)
    if this.reason is not None:
        if not linked and not mine:
            diagnose('%s: no longer differs, though: %s' % (this, this.reason))
        return bool(linked or mine)
    for who, differences in [('by its name', linked), ('by ours', mine)]:
        for text in differences:
            diagnose('%s: %s: %s' % (this, who, text))
    return not linked and not mine


def add_file(name):
    cases = load(name)
    counts[name] = len(cases)
    cases = cases[shard::n_shards]

    def check():
        if qemu_version() >= (8, 0):
            raise Skip('the texts are those of version 7.2')
        folders = sidebyside.Folders()
        wrong = [str(this) for this in cases if not check_one(this, folders)]
        diagnose('%d cases, %d of them different on purpose' % (len(cases), sum(this.reason is not None for this in cases)))
        equal(wrong, [], name)
    add_test('%s: %d cases' % (name, len(cases)), check)


def check_count():
    total = sum(counts.values())
    diagnose('%d cases in all' % total)
    assert total >= MINIMUM, total


arguments = sys.argv[1:]
shard, n_shards = 0, 1
if arguments and '/' in arguments[0]:
    shard, n_shards = map(int, arguments.pop(0).split('/'))
for name in sorted(os.listdir(FOLDER)):
    if name.endswith('.py') and (not arguments or name[:-3] in arguments):
        add_file(name[:-3])
if not arguments:
    add_test('there are at least %d cases' % MINIMUM, check_count)

if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
