# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""po/POTFILES lists every file with a message, and no other."""

import os
import re

from imagotest import equal, main, test

ROOT = os.environ['IMAGO_SOURCE_ROOT']
MESSAGE = re.compile(r'(?<![A-Za-z0-9_])(_|N_|C_|NC_|ngettext) ?\("')


@test
def test_potfiles():
    """po/POTFILES is complete"""
    found = []
    for folder in ['src', 'imago-glib', 'tools']:
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                full = os.path.join(path, name)
                if name.endswith(('.c', '.h')) and MESSAGE.search(open(full, encoding='utf-8').read()):
                    found.append(os.path.relpath(full, ROOT))
    with open(os.path.join(ROOT, 'po', 'POTFILES'), encoding='utf-8') as file:
        listed = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    equal(listed, sorted(found))


@test
def test_formats():
    """messages are whole for xgettext, which knows %zu and PRIu64 but not the format macros of GLib"""
    strings = re.compile(r'(?<![A-Za-z0-9_])N?_ ?\((?:"(?:[^"\\]|\\.)*"|\s|(?!G_)[A-Z]\w+)*(G_\w+)')
    with open(os.path.join(ROOT, 'po', 'POTFILES'), encoding='utf-8') as file:
        listed = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    found = []
    for name in listed:
        text = open(os.path.join(ROOT, name), encoding='utf-8').read()
        found += ['%s:%d: %s' % (name, text.count('\n', 0, match.start()) + 1, match.group(1))
                  for match in strings.finditer(text)]
    equal(found, [])


@test
def test_linguas():
    """po/LINGUAS lists every translation, and no other"""
    with open(os.path.join(ROOT, 'po', 'LINGUAS'), encoding='utf-8') as file:
        listed = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    equal(listed, sorted(name[:-3] for name in os.listdir(os.path.join(ROOT, 'po')) if name.endswith('.po')))


if __name__ == '__main__':
    main()
