#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules for every file of the source tree. (tests/tools/test-potfiles.py looks at the messages.)"""

import re

import tree
import tap

COPYRIGHT = 'SPDX-FileCopyrightText: The imago-glib authors'
LICENCE = 'SPDX-License-Identifier: LGPL-2.1-or-later'
# The licence itself, and what cannot carry a comment.
WITHOUT_LICENCE_LINES = re.compile(r'COPYING|LICENSES/.*|tests/data/.*\.(qcow2|json)|tests/fuzz/(corpus|seeds)/.*|'
                                   r'tests/bench/crate/Cargo\.lock')
BINARY = re.compile(r'tests/data/.*\.qcow2|tests/fuzz/(corpus|seeds)/.*')


@tap.test
def every_file_has_its_licence():
    problems = []
    count = 0
    for path in tree.files():
        name = tree.relative(path)
        if WITHOUT_LICENCE_LINES.fullmatch(name):
            continue
        count += 1
        head = '\n'.join(path.read_text().splitlines()[:6])
        if COPYRIGHT not in head or LICENCE not in head:
            problems.append(name)
    tree.report(problems)
    tap.true(count > 100, f'{count} files')


@tap.test
def no_file_is_empty():
    tree.report([tree.relative(path) for path in tree.files() if path.stat().st_size == 0
                 and not BINARY.fullmatch(tree.relative(path))])


@tap.test
def text_is_clean():
    problems = []
    for path in tree.files():
        name = tree.relative(path)
        if BINARY.fullmatch(name) or name == 'COPYING' or name.startswith('LICENSES/') or path.suffix in ('.po', '.pot'):
            continue
        text = path.read_text()
        if not text.endswith('\n') or text.endswith('\n\n'):
            problems.append(f'{name}: does not end with one newline')
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip():
                problems.append(f'{name}:{number}: blanks at the end of the line')
            if '\t' in line:
                problems.append(f'{name}:{number}: a tab')
    tree.report(problems)


@tap.test
def nothing_is_left_open():
    """No unfinished work, and no name of a place that only one machine has."""
    open_ends = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b|(?<![\w.])/(?:work|home|root)/\w')
    problems = []
    for path in tree.files():
        if BINARY.fullmatch(tree.relative(path)):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = open_ends.search(line)
            if found:
                problems.append(f'{tree.relative(path)}:{number}: {found.group()}')
    tree.report(problems)


tap.main()
