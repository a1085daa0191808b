# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the source tree, for the tests that look at the source itself."""

import os
import pathlib
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import tap  # noqa: E402, F401

ROOT = pathlib.Path(tap.source_root())
BUILD = pathlib.Path(tap.build_root())
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def files(*folders, suffixes=None):
    """Paths below the folders (default: all), without build folders and what programs leave behind."""
    starts = [ROOT / folder for folder in folders] or [ROOT]
    for start in starts:
        for path, names, plain in os.walk(start):
            names[:] = sorted(name for name in names
                              if name not in ('.git', '__pycache__', 'target')
                              and not (pathlib.Path(path) == ROOT and name.startswith('build')))
            for name in sorted(plain):
                file = pathlib.Path(path) / name
                # xgettext leaves its template in the source.
                if file.suffix != '.pot' and (suffixes is None or file.suffix in suffixes):
                    yield file


def relative(path):
    return str(path.relative_to(ROOT))


def includes(path):
    """Yields (is a system header, name) for each #include."""
    for quote, name in INCLUDE.findall(path.read_text()):
        yield quote == '<', name


def without_comments(text):
    return re.sub(r'/\*.*?\*/|//[^\n]*', lambda m: '\n' * m.group().count('\n'), text, flags=re.S)


def report(problems):
    if problems:
        raise AssertionError('\n' + '\n'.join(problems))
