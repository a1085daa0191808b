#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists every function of the public API that starts an asynchronous call, for test-async.c.

    async-starters.py OUTPUT (FILE.gir | HEADER...)

The list comes from the introspection data where that is built, else from the public headers; a test compares the
two. A function that is new is so in the list whether or not anybody thought of testing it."""

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

C = '{http://www.gtk.org/introspection/c/1.0}'

TEXT = '''/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Made by async-starters.py. */

static const TestStarter test_starters[] = {
%s
};
'''


def from_gir(path):
    return sorted(name for name in (e.get(f'{C}identifier') for e in ElementTree.parse(path).iter())
                  if name and name.endswith('_async'))


def from_headers(paths):
    found = set()
    for path in paths:
        text = re.sub(r'/\*.*?\*/', '', pathlib.Path(path).read_text(), flags=re.S)
        found.update(re.findall(r'^void\s+(imago_\w+_async)\s*\(', text, flags=re.M))
    return sorted(found)


def starters(sources):
    if len(sources) == 1 and sources[0].endswith('.gir'):
        return from_gir(sources[0])
    return from_headers(sources)


def main(output, *sources):
    names = starters(sources)
    if not names:
        sys.exit('no asynchronous call was found')
    rows = '\n'.join(f'  {{ "{name[:-len("_async")]}", (gpointer) {name} }},' for name in names)
    pathlib.Path(output).write_text(TEXT % rows)


if __name__ == '__main__':
    main(*sys.argv[1:])
