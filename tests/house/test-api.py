#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shape of the public API, so that every language can call it."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import tree
import tap


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem.replace('-', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async_starters = load(tree.ROOT / 'tests' / 'glib' / 'async-starters.py')

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'
GIR = tree.BUILD / 'imago-glib' / 'Imago-1.0.gir'
NAMESPACE = ElementTree.parse(GIR).getroot().find(f'{CORE}namespace')
CALLABLES = [CORE + kind for kind in ('constructor', 'method', 'function')]
# For C only: each does without a copy, or without a switch of threads, what the other languages have to do with.
C_ONLY = {'imago_image_read_at', 'imago_image_readv_at', 'imago_image_write_at', 'imago_image_writev_at',
          'imago_batch_add_read_at', 'imago_storage_request_get_vectors', 'imago_storage_class_set_thread_safe'}
# Blocking calls without _async, and why: they work on memory of the caller, who would have to keep it until the answer;
# the twins that take or return GBytes do it.
WITHOUT_TWIN = {name for name in C_ONLY if name.startswith('imago_image_')}
# Fallible calls without a GCancellable, and why they need none.
NEVER_WAITS = {
    'imago_batch_check': 'tells what has been',
    'imago_file_storage_open_fd': 'looks at a file that is open already',
    'imago_image_set_backing': 'compares two images that are open already',
    'imago_memory_storage_dup_bytes': 'copies memory',
}
KEYWORDS = set('''
    and as assert async await break class continue def del elif else except finally for from global if import in is
    lambda nonlocal not or pass raise return try while with yield None True False
    case catch const debugger default delete do enum export extends function implements instanceof interface let
    new null package private protected public static super switch this throw typeof var void
    base construct delegate dynamic ensures errordomain get inline internal is lock namespace out override owned
    params ref requires set signal sizeof struct throws unlock unowned using value virtual volatile weak
'''.split())


def containers():
    yield NAMESPACE
    for kind in ('class', 'interface', 'record', 'enumeration', 'bitfield'):
        yield from NAMESPACE.findall(CORE + kind)


def callables(container):
    return {e.get('name'): e for e in container if e.tag in CALLABLES and not e.get('moved-to')}


def parameters(function):
    found = function.find(f'{CORE}parameters')
    return [] if found is None else found.findall(f'{CORE}parameter')


@tap.test
def async_calls_come_in_threes():
    problems = []
    count = 0
    for container in containers():
        functions = callables(container)
        for name, starter in functions.items():
            if not name.endswith('_async'):
                continue
            count += 1
            base = name[:-len('_async')]
            where = starter.get(f'{C}identifier')
            for twin in (base, base + '_finish'):
                if twin not in functions:
                    problems.append(f'{where}: there is no {twin} beside it')
                elif functions[twin].get('throws') != '1':
                    problems.append(f'{where}: {twin} has no error')
            if starter.find(f'{CORE}return-value/{CORE}type').get('name') != 'none':
                problems.append(f'{where}: returns something')
            if starter.get('throws') == '1' or any(p.get('direction') in ('out', 'inout') for p in parameters(starter)):
                problems.append(f'{where}: has an out parameter')
            tail = [p.get('name') for p in parameters(starter)][-4:]
            if tail != ['io_priority', 'cancellable', 'callback', 'user_data']:
                problems.append(f'{where}: ends with {tail}')
            if base in functions and base + '_finish' in functions:
                sync = [p.get('name') for p in parameters(functions[base]) if p.get('direction') != 'out']
                if sync[:-1] != [p.get('name') for p in parameters(starter)][:-4] or sync[-1] != 'cancellable':
                    problems.append(f'{where}: {base} takes {sync}')
                results = [functions[n].find(f'{CORE}return-value/{CORE}type').get('name')
                           for n in (base, base + '_finish')]
                if results[0] != results[1]:
                    problems.append(f'{where}: the twins return {results}')
        for name in functions:
            if name.endswith('_finish') and name[:-len('_finish')] + '_async' not in functions:
                problems.append(f'{functions[name].get(f"{C}identifier")}: finishes nothing')
    tree.report(problems)
    tap.true(count >= 13, f'{count} asynchronous calls')


def c_type(element):
    found = element.find(f'{CORE}type')
    return '' if found is None else found.get(f'{C}type', '')


@tap.test
def every_blocking_call_has_an_async_twin():
    """What takes a GCancellable may wait, and what may wait can be left to the library. What has a GError but no
    GCancellable is listed with the reason why it never waits, and so is what has no twin."""
    problems = []
    blocking = set()
    quick = set()
    for container in containers():
        functions = callables(container)
        for name, function in functions.items():
            where = function.get(f'{C}identifier')
            if name.endswith('_finish') or function.get('throws') != '1':
                continue
            if not any(c_type(p) == 'GCancellable*' for p in parameters(function)):
                quick.add(where)
                continue
            blocking.add(where)
            if where in WITHOUT_TWIN:
                continue
            for twin in (name + '_async', name + '_finish'):
                if twin not in functions:
                    problems.append(f'{where} has no {twin}')
    tree.report(problems)
    tap.equal(sorted(set(WITHOUT_TWIN) - blocking), [])
    tap.equal(sorted(quick), sorted(NEVER_WAITS))
    tap.true(len(blocking) > 25, f'{len(blocking)} blocking calls, {len(WITHOUT_TWIN)} without a twin')


@tap.test
def headers_and_introspection_list_the_same_async_calls():
    """The matrix of test-async.c is made from either."""
    headers = sorted(str(p) for p in (tree.ROOT / 'imago-glib').glob('*.h') if not p.name.endswith('-private.h'))
    from_headers = set(async_starters.starters(headers))
    from_gir = set(async_starters.starters([str(GIR)]))
    tap.equal(sorted(from_headers ^ from_gir), [])
    tap.true(len(from_gir) > 25, f'{len(from_gir)} asynchronous calls')


@tap.test
def every_call_can_be_made():
    problems = []
    skipped = set()
    for container in containers():
        for function in callables(container).values():
            name = function.get(f'{C}identifier')
            if function.get('introspectable') == '0':
                skipped.add(name)
                continue
            outs = [p for p in parameters(function) if p.get('direction') in ('out', 'inout')]
            if len(outs) > 2 or any(p.get('direction') == 'inout' for p in outs):
                problems.append(f'{name}: too many out parameters')
            if any(p.find(f'{CORE}varargs') is not None for p in parameters(function)):
                problems.append(f'{name}: varargs')
            for value in parameters(function) + [function.find(f'{CORE}return-value')]:
                for type_ in value.iter(f'{CORE}type'):
                    if type_.get('name') in ('GLib.List', 'GLib.SList', 'GLib.HashTable', 'GLib.PtrArray',
                                             'GLib.Array', 'gpointer') and value.get('name') != 'user_data' \
                            and not value.get('closure'):
                        problems.append(f'{name}: uses {type_.get("name")}')
    tree.report(problems)
    tap.equal(skipped, C_ONLY)


@tap.test
def properties_are_well_named():
    problems = []
    count = 0
    for container in containers():
        methods = callables(container)
        for property_ in container.findall(f'{CORE}property'):
            count += 1
            name = property_.get('name')
            if name.replace('-', '_') in methods:
                problems.append(f'{container.get("name")}:{name} is a method too')
            if name in KEYWORDS:
                problems.append(f'{container.get("name")}:{name} is a keyword')
        # Reference counting is what a language's runtime does; a constructor is called by its class's name.
        for method in set(methods) & KEYWORDS - {'new', 'ref', 'get'}:
            problems.append(f'{container.get("name")}.{method} is a keyword')
    tree.report(problems)
    tap.true(count > 30, f'{count} properties')


@tap.test
def types_are_closed():
    """What is not meant to be subclassed cannot be: no class structure is public but the interface's."""
    structures = [e.get('name') for e in NAMESPACE.findall(f'{CORE}record')
                  if e.get(f'{GLIB}is-gtype-struct-for') and e.find(f'{CORE}field') is not None
                  and len(e.findall(f'{CORE}field')) > 1]
    tap.equal(structures, ['ReferencePolicyInterface', 'StorageClass'])


@tap.test
def flags_and_enumerations_begin_with_none():
    problems = []
    for kind in ('enumeration', 'bitfield'):
        for element in NAMESPACE.findall(CORE + kind):
            if not element.get(f'{GLIB}get-type'):
                problems.append(f'{element.get("name")} is not registered')
            first = element.find(f'{CORE}member')
            if element.get('name') != 'Error' and (first.get('name'), first.get('value')) != ('none', '0'):
                problems.append(f'{element.get("name")} begins with {first.get("name")}')
    tree.report(problems)


tap.main()
