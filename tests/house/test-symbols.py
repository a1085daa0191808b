#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the library exports is what symbols.txt lists, what the headers declare and what the GIR documents."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree

import tree
import tap

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'
LISTED = [line for line in (tree.ROOT / 'tests' / 'house' / 'symbols.txt').read_text().splitlines()
          if line and not line.startswith('#')]
GIR = tree.BUILD / 'imago-glib' / 'Imago-1.0.gir'


def same(got, wanted):
    tree.report([f'unexpected: {name}' for name in sorted(set(got) - set(wanted))]
                + [f'missing: {name}' for name in sorted(set(wanted) - set(got))])


@tap.test
def list_is_sorted():
    tap.equal(LISTED, sorted(set(LISTED)))
    tap.true(len(LISTED) > 100, len(LISTED))


@tap.test
def exports_what_is_listed():
    library = tree.BUILD / 'imago-glib' / 'libimago-glib-1.0.so'
    output = subprocess.run(['nm', '-D', '-P', '--defined-only', library], check=True, capture_output=True,
                            text=True).stdout
    exported = [line.split()[0] for line in output.splitlines()]
    # The sanitizers' own.
    same([name for name in exported if not name.startswith(('__asan', '__odr_asan', '__ubsan', '__tsan'))], LISTED)


@tap.test
def headers_declare_what_is_listed():
    declared = set()
    for header in tree.files('imago-glib', suffixes='.h'):
        if header.name.endswith('-private.h'):
            continue
        text = tree.without_comments(header.read_text())
        declared.update(name + '_get_type' for name in re.findall(r'^IMAGO_DECLARE_INTERNAL_TYPE \(\w+, (\w+),', text, re.M))
        for declaration in re.split(r'IMAGO_AVAILABLE_IN_1_0\n', text)[1:]:
            macro = re.match(r'G_DECLARE_\w+ \(\w+, (\w+),', declaration)
            declared.add(macro.group(1) + '_get_type' if macro
                         else re.match(r'[\w\s*]*?\b(imago_\w+) \(', declaration).group(1))
    # Enumerations are registered by a generated header.
    generated = (tree.BUILD / 'imago-glib' / 'imago-enum-types.h').read_text()
    declared.update(re.findall(r'\b(imago_\w+_get_type) \(', generated))
    same(declared, LISTED)


@tap.test
def gir_documents_what_is_listed():
    namespace = ElementTree.parse(GIR).getroot().find(f'{CORE}namespace')
    documented = set()
    undated = []
    for element in namespace.iter():
        get_type = element.get(f'{GLIB}get-type')
        if get_type and get_type.startswith('imago_'):
            documented.add(get_type)
        if element.tag not in (f'{CORE}function', f'{CORE}method', f'{CORE}constructor'):
            continue
        if element.get('moved-to'):
            continue
        name = element.get(f'{C}identifier')
        documented.add(name)
        if element.get('version') != '1.0' or element.find(f'{CORE}doc') is None:
            undated.append(f'{name} has no documentation or no "Since: 1.0"')
    same(documented, LISTED)
    tree.report(undated)


@tap.test
def gir_dates_every_type():
    problems = []
    namespace = ElementTree.parse(GIR).getroot().find(f'{CORE}namespace')
    for kind in ('class', 'interface', 'record', 'enumeration', 'bitfield', 'callback'):
        for element in namespace.findall(CORE + kind):
            fields = element.findall(f'{CORE}field')
            if element.get(f'{GLIB}is-gtype-struct-for') and len(fields) <= 1:
                continue  # what G_DECLARE_FINAL_TYPE leaves of a class structure
            name = element.get('name')
            if element.get('version') != '1.0' or element.find(f'{CORE}doc') is None:
                problems.append(f'{kind} {name} has no documentation or no "Since: 1.0"')
            for member in element.findall(f'{CORE}member') + element.findall(f'{CORE}property'):
                if member.find(f'{CORE}doc') is None:
                    problems.append(f'{name}: {member.get("name")} has no documentation')
    tree.report(problems)


tap.main()
