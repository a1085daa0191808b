#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may include whom, who may use which library, and who may wait."""

import re
import subprocess

import tree
import tap

# Each folder of src/ and the folders below it.
BELOW = {
    'common': set(),
    'storage': {'common'},
    'codec': {'common'},
    'formats': {'common', 'storage', 'codec'},
    'image': {'common', 'storage', 'codec', 'formats'},
    'jobs': {'common', 'storage', 'codec', 'formats', 'image'},
}
C = ('.c', '.h')
CORE_HEADERS = {path.name: path for path in tree.files('src', suffixes='.h')}
GENERATED = {'config.h'}


def core_place(path):
    """("formats", "qcow2") for src/formats/qcow2/x.c; ("formats", None) for src/formats/x.c."""
    parts = path.relative_to(tree.ROOT / 'src').parts
    return parts[0], parts[1] if len(parts) > 2 else None


@tap.test
def core_headers_have_different_names():
    headers = list(tree.files('src', suffixes='.h'))
    tap.true(len(headers) >= 15, f'{len(headers)} headers')
    tap.equal(len(CORE_HEADERS), len(headers))


@tap.test
def arrows_point_down():
    problems = []
    checked = 0
    for path in tree.files('src', suffixes=C):
        layer, room = core_place(path)
        for system, name in tree.includes(path):
            if system or name in GENERATED:
                continue
            target = CORE_HEADERS.get(name.rpartition('/')[2])
            if target is None:
                problems.append(f'{tree.relative(path)} includes {name}, which is not of the core')
                continue
            checked += 1
            other_layer, other_room = core_place(target)
            if other_layer != layer and other_layer not in BELOW[layer]:
                problems.append(f'{tree.relative(path)} includes {name}: {layer} must not know {other_layer}')
            # The list of all formats, in the folder's own files, names each of them.
            if layer == other_layer == 'formats' and room is not None and other_room not in (None, room):
                problems.append(f'{tree.relative(path)} includes {name}: formats never include one another')
    tree.report(problems)
    tap.true(checked > 50, f'{checked} includes looked at')


@tap.test
def core_sources_begin_with_config():
    problems = []
    for path in tree.files('src', suffixes='.c'):
        first = next(tree.includes(path), None)
        if first != (False, 'config.h'):
            problems.append(f'{tree.relative(path)} includes {first} first')
    tree.report(problems)


@tap.test
def core_is_glib_only():
    forbidden = re.compile(r'^(gio/|gobject/|glib-object\.h|girepository)')
    tree.report([f'{tree.relative(path)} includes <{name}>'
                 for path in tree.files('src', suffixes=C)
                 for system, name in tree.includes(path) if system and forbidden.match(name)])


def symbols_of(*arguments):
    output = subprocess.run(['nm', '-P', *arguments], check=True, capture_output=True, text=True).stdout
    return {line.split()[0].partition('@')[0] for line in output.splitlines() if len(line.split()) > 1}


@tap.test
def core_links_with_glib_only():
    libdir = subprocess.run(['pkg-config', '--variable=libdir', 'gobject-2.0'], check=True, capture_output=True,
                            text=True).stdout.strip()
    foreign = symbols_of('-D', '--defined-only', f'{libdir}/libgobject-2.0.so') \
        | symbols_of('-D', '--defined-only', f'{libdir}/libgio-2.0.so')
    tap.true('g_object_new' in foreign and 'g_task_new' in foreign, 'their symbols are known')
    wanted = symbols_of('-u', str(tree.BUILD / 'src' / 'libimago-core.a'))
    tap.true('g_malloc' in wanted or 'g_free' in wanted, 'its symbols are known')
    tap.equal(sorted(wanted & foreign), [])


@tap.test
def face_sees_the_core_through_one_door():
    door = tree.ROOT / 'imago-glib' / 'imago-core.h'
    problems = []
    for path in tree.files('imago-glib', suffixes=C):
        for _, name in tree.includes(path):
            if name.rpartition('/')[2] in CORE_HEADERS and path != door:
                problems.append(f'{tree.relative(path)} includes {name}')
    tree.report(problems)


@tap.test
def public_headers_are_public():
    installed = re.findall(r"'(imago-[a-z-]+\.h)'", (tree.ROOT / 'imago-glib' / 'meson.build').read_text())
    public = set(installed) | {'imago-version.h', 'imago-enum-types.h'}
    problems = []
    for header in sorted(set(installed) - {'imago-version.h', 'imago-enum-types.h'}):
        for system, name in tree.includes(tree.ROOT / 'imago-glib' / header):
            if not system:
                problems.append(f'{header} includes "{name}" and not <…>')
            elif name.startswith('imago-glib/') and name.partition('/')[2] not in public:
                problems.append(f'{header} includes {name}, which is not installed')
    tree.report(problems)


@tap.test
def programs_use_the_public_api():
    problems = []
    for folder in ('tools', 'bindings'):
        own = {path.name for path in tree.files(folder, suffixes='.h')}
        for path in tree.files(folder, suffixes=C):
            for _, name in tree.includes(path):
                if name.startswith('imago') and name != 'imago-glib/imago-glib.h' and name not in own \
                        or name.rpartition('/')[2] in CORE_HEADERS:
                    problems.append(f'{tree.relative(path)} includes {name}')
    tree.report(problems)


@tap.test
def only_one_file_waits():
    """Every wait is img_park (): the servers of a thread and the scheduler of the tests rely on it."""
    waits = re.compile(r'\b(g_cond_\w+|pthread_cond_\w+|sem_(?:timed)?wait|g_async_queue_(?:timeout_)?pop\w*|'
                       r'g_usleep|usleep|nanosleep|sleep|SYS_futex|pthread_join|g_thread_join|g_once_init_\w*wait)\s*\(')
    problems = []
    for path in tree.files('src', 'imago-glib', suffixes=C):
        if path == tree.ROOT / 'src' / 'common' / 'img-park.c':
            continue
        for number, line in enumerate(tree.without_comments(path.read_text()).splitlines(), 1):
            found = waits.search(line)
            if found and not found.group(1).endswith(('_init', '_clear')):
                problems.append(f'{tree.relative(path)}:{number}: {found.group(1)}')
    tree.report(problems)
    tap.true(waits.search((tree.ROOT / 'src' / 'common' / 'img-park.c').read_text()), 'the one file does wait')


tap.main()
