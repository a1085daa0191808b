#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reference manual builds without a warning and leaves nothing undocumented."""

import os
import re
import subprocess

import tree
import tap

DOC = tree.BUILD / 'doc'
# Links into the manuals of GLib, where those are not installed (containers leave documentation out).
FOREIGN_LINK = re.compile(r'no link for: "(?!imago)', re.I)
output = ''


@tap.test
def builds_without_warnings():
    global output
    # Not with the library paths and fatal warnings of the tests: the scanner runs programs of its own.
    env = {name: value for name, value in os.environ.items() if name not in ('G_DEBUG', 'MALLOC_PERTURB_')}
    for stamp in DOC.glob('imago-glib-doc*'):
        if stamp.is_file():
            stamp.unlink()
    result = subprocess.run(['ninja', '-C', tree.BUILD, 'imago-glib-doc'], env=env, capture_output=True, text=True)
    output = result.stdout + result.stderr
    tap.equal(result.returncode, 0, output)
    tap.true((DOC / 'html' / 'index.html').is_file(), output)
    tree.report([line for line in output.splitlines()
                 if re.search(r'\b(warning|error):', line, re.I) and not FOREIGN_LINK.search(line)])


@tap.test
def everything_is_documented():
    report = (DOC / 'imago-glib-undocumented.txt').read_text()
    first, *lines = report.splitlines()
    tap.equal(first, '100% symbol docs coverage.', report)
    counts = dict(reversed(line.rstrip('.').split(' ', 1)) for line in lines if re.match(r'\d+ ', line))
    tap.true(int(counts['symbols documented']) > 150, report)
    tap.equal((counts['symbols incomplete'], counts['not documented']), ('0', '0'), report)


@tap.test
def every_symbol_has_a_place():
    """None is missing in the sections file, none is there that does not exist."""
    for name in ('unused', 'undeclared'):
        path = DOC / f'imago-glib-{name}.txt'
        tap.equal(path.read_text() if path.exists() else '', '', name)


@tap.test
def every_chapter_is_there():
    pages = {path.name for path in (DOC / 'html').glob('*.html')}
    chapters = ('overview', 'opening-images', 'creating-images', 'writing', 'async', 'threads', 'untrusted-images',
                'formats', 'qemu-img')
    tree.report([name for name in chapters if f'{name}.html' not in pages])


tap.main()
