#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each public header compiles alone, as C and as C++, and only through imago-glib.h.

usage: test-headers.py C-COMPILER...  (the C++ compiler is looked for)
"""

import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys

import tree
import tap

CC = sys.argv[1:]
HEADERS = sorted(set(re.findall(r"'(imago-[a-z-]+\.h)'", (tree.ROOT / 'imago-glib' / 'meson.build').read_text()))
                 | {'imago-version.h', 'imago-enum-types.h'})
FLAGS = ['-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-fsyntax-only',
         f'-I{tree.BUILD}', f'-I{tree.ROOT}',
         *shlex.split(subprocess.run(['pkg-config', '--cflags', 'gio-2.0'], check=True, capture_output=True,
                                     text=True).stdout.replace('-I', '-isystem '))]


def compile_text(command, text):
    return subprocess.run([*command, *FLAGS, '-'], input=text, capture_output=True, text=True)


def compile_each(command, prologue):
    """What each header alone gives: {name: result}."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = [f'{prologue}#include <imago-glib/{header}>\nint imago_unused;\n' for header in HEADERS]
        return dict(zip(HEADERS, pool.map(lambda text: compile_text(command, text), texts)))


def need_success(results):
    tree.report([f'{header}:\n{result.stderr}' for header, result in results.items() if result.returncode])


@tap.test
def alone_as_c():
    tap.true(len(HEADERS) > 15, HEADERS)
    need_success(compile_each([*CC, '-std=c11', '-Wstrict-prototypes', '-x', 'c'], '#define IMAGO_INSIDE\n'))


@tap.test
def alone_as_cpp():
    compiler = shutil.which('c++') or shutil.which('clang++')
    if compiler is None:
        tap.skip('there is no C++ compiler')
    need_success(compile_each([compiler, '-std=c++11', '-x', 'c++'], '#define IMAGO_INSIDE\n'))


@tap.test
def only_through_the_main_header():
    results = compile_each([*CC, '-std=c11', '-E', '-x', 'c'], '')
    tree.report([f'{header} can be included directly' for header, result in results.items()
                 if header not in ('imago-glib.h', 'imago-enum-types.h')
                 and (result.returncode == 0 or 'can be included directly' not in result.stderr)])
    result = compile_text([*CC, '-std=c11', '-x', 'c'],
                          '#include <imago-glib/imago-glib.h>\n#ifdef IMAGO_INSIDE\n#error leaks\n#endif\n'
                          'int imago_unused;\n')
    tap.equal((result.returncode, result.stderr), (0, ''))


@tap.test
def main_header_includes_all():
    text = (tree.ROOT / 'imago-glib' / 'imago-glib.h').read_text()
    tree.report([header for header in HEADERS if header != 'imago-glib.h' and f'<imago-glib/{header}>' not in text])


@tap.test
def version_macros():
    version = re.search(r"version: '([0-9.]+)'", (tree.ROOT / 'meson.build').read_text()).group(1)
    major, minor, micro = map(int, version.split('.'))
    result = compile_text([*CC, '-std=c11', '-x', 'c'], f'''
#include <imago-glib/imago-glib.h>
G_STATIC_ASSERT (IMAGO_MAJOR_VERSION == {major});
G_STATIC_ASSERT (IMAGO_MINOR_VERSION == {minor});
G_STATIC_ASSERT (IMAGO_MICRO_VERSION == {micro});
G_STATIC_ASSERT (sizeof IMAGO_VERSION_S == sizeof "{version}");
G_STATIC_ASSERT (IMAGO_CHECK_VERSION ({major}, {minor}, {micro}));
G_STATIC_ASSERT (IMAGO_CHECK_VERSION ({major - 1}, {minor + 9}, {micro + 9}));
G_STATIC_ASSERT (!IMAGO_CHECK_VERSION ({major}, {minor}, {micro + 1}));
G_STATIC_ASSERT (!IMAGO_CHECK_VERSION ({major}, {minor + 1}, 0));
G_STATIC_ASSERT (!IMAGO_CHECK_VERSION ({major + 1}, 0, 0));
''')
    tap.equal((result.returncode, result.stderr), (0, ''))


@tap.test
def too_new_functions_warn():
    """A program that limits itself to an older API hears of newer functions."""
    result = compile_text([*CC, '-std=c11', '-x', 'c'],
                          '#include <gio/gio.h>\n#define IMAGO_VERSION_MAX_ALLOWED (G_ENCODE_VERSION (0, 9))\n'
                          '#include <imago-glib/imago-glib.h>\nGQuark f (void);\n'
                          'GQuark f (void) { return imago_error_quark (); }\n')
    tap.true(result.returncode != 0 and 'Not available before 1.0' in result.stderr, result.stderr)


tap.main()
