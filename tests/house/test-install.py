#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed library: its files, its pkg-config file, and the examples of the README on top of it.

usage: test-install.py MESON PREFIX PYTHON-WITH-GI GJS C-COMPILER...
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import tree
import tap

MESON, PREFIX, PYTHON, GJS, *CC = sys.argv[1:]
README = (tree.ROOT / 'README.md').read_text()


class Installation:
    """The library in a folder of its own, found by pkg-config as if that were its prefix."""

    def __init__(self, folder):
        # Not the manual: installing it builds it again, and test-docs.py does that.
        subprocess.run([MESON, 'install', '-C', tree.BUILD, '--no-rebuild', '--quiet', '--destdir', folder,
                        '--tags', 'runtime,bin,man,devel,typelib,i18n,python-runtime,python-devel,gjs-runtime'], check=True, stdout=subprocess.DEVNULL)
        self.prefix = folder / PREFIX.lstrip('/')
        self.pc = next(self.prefix.rglob('imago-glib-1.0.pc'))
        self.libdir = self.pc.parent.parent
        text = self.pc.read_text()
        tap.true(f'prefix={PREFIX}\n' in text, text)
        self.pc.write_text(text.replace(f'prefix={PREFIX}\n', f'prefix={self.prefix}\n'))
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(self.pc.parent), LD_LIBRARY_PATH=str(self.libdir),
                        GI_TYPELIB_PATH=str(self.libdir / 'girepository-1.0'))

    def run(self, command, **options):
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=50, **options)

    def pkg_config(self, *arguments):
        result = self.run(['pkg-config', *arguments, 'imago-glib-1.0'])
        tap.equal((result.returncode, result.stderr), (0, ''))
        return result.stdout.strip()


def example(language):
    found = re.search(rf'<!-- example: {language} -->\n```\w+\n(.*?)```\n', README, re.S)
    tap.true(found, f'README.md has an example for {language}')
    return found.group(1)


def guest_folder(folder):
    """A copy of the sample disk, where examples run."""
    place = pathlib.Path(tempfile.mkdtemp(dir=folder))
    for name in ('disk.qcow2', 'base.qcow2'):
        shutil.copy(tree.ROOT / 'tests' / 'data' / name, place)
    return place


FOLDER = tempfile.TemporaryDirectory(prefix='imago-install-')
ROOT = pathlib.Path(FOLDER.name)
HERE = Installation(ROOT / 'installed')


@tap.test
def files():
    found = {str(path.relative_to(HERE.prefix)) for path in HERE.prefix.rglob('*') if not path.is_dir()}
    library = str(HERE.libdir.relative_to(HERE.prefix))
    for name in ('include/imago-glib-1.0/imago-glib/imago-glib.h',
                 'include/imago-glib-1.0/imago-glib/imago-version.h',
                 'include/imago-glib-1.0/imago-glib/imago-enum-types.h',
                 f'{library}/libimago-glib-1.0.so', f'{library}/libimago-glib-1.0.so.0',
                 f'{library}/girepository-1.0/Imago-1.0.typelib', 'share/gir-1.0/Imago-1.0.gir', 'share/gjs-1.0/overrides/Imago.js'):
        tap.true(name in found, f'{name} is among {sorted(found)}')
    if (HERE.prefix / 'bin' / 'imago').exists():
        for name in ('share/man/man1/imago.1', 'share/man/man1/imago-convert.1', 'share/bash-completion/completions/imago',
                     'share/zsh/site-functions/_imago', 'share/fish/vendor_completions.d/imago.fish'):
            tap.true(name in found, f'{name} is among {sorted(found)}')
    if (tree.BUILD / 'po').exists():
        for language in ('de', 'zh_CN'):
            name = f'share/locale/{language}/LC_MESSAGES/imago-glib-1.0.mo'
            tap.true(name in found, f'{name} is among {sorted(found)}')
    for name in ('gi/overrides/Imago.py', 'gi-stubs/repository/Imago.pyi'):
        tap.true(not PYTHON or any(path.endswith(name) for path in found), f'{name} is among {sorted(found)}')
    tap.equal([name for name in found if name.endswith('.a') or '-private' in name or 'imago-core' in name], [])


@tap.test
def pkg_config():
    version = re.search(r"version: '([0-9.]+)'", (tree.ROOT / 'meson.build').read_text()).group(1)
    tap.equal(HERE.pkg_config('--modversion'), version)
    tap.equal(HERE.pkg_config('--variable=apiversion'), '1.0')
    flags = shlex.split(HERE.pkg_config('--cflags'))
    tap.true(f'-I{HERE.prefix}/include/imago-glib-1.0' in flags, flags)
    libraries = shlex.split(HERE.pkg_config('--libs'))
    tap.true('-limago-glib-1.0' in libraries, libraries)
    tap.true(not {'-lz', '-lzstd', '-ldeflate', '-limago-core'} & set(libraries), libraries)


@tap.test
def example_in_c():
    place = guest_folder(ROOT)
    (place / 'disk.c').write_text(example('c'))
    command = [*CC, '-Wall', '-Werror', '-o', 'disk', 'disk.c', *shlex.split(HERE.pkg_config('--cflags', '--libs'))]
    result = HERE.run(command, cwd=place)
    tap.equal((result.returncode, result.stderr), (0, ''))
    result = HERE.run(['./disk'], cwd=place)
    tap.equal((result.returncode, result.stdout, result.stderr), (0, '4194304 bytes, read 512\n', ''))


@tap.test
def example_in_python():
    if not PYTHON:
        tap.skip('there is no Python with PyGObject')
    place = guest_folder(ROOT)
    result = HERE.run([PYTHON, '-c', example('python')], cwd=place)
    tap.equal((result.returncode, result.stdout, result.stderr), (0, '4194304 bytes, boot signature 55aa\n', ''))
    tap.equal((place / 'disk.raw').stat().st_size, 4 << 20)


@tap.test
def example_in_javascript():
    if not GJS:
        tap.skip('there is no gjs')
    place = guest_folder(ROOT)
    (place / 'example.js').write_text(example('javascript'))
    result = HERE.run([GJS, '-m', 'example.js'], cwd=place)
    tap.equal((result.returncode, result.stderr), (0, ''))
    lines = [line.split() for line in result.stdout.splitlines()]
    tap.equal(sum(int(length) for _, length, _ in lines), 4 << 20)
    tap.equal({kind for _, _, kind in lines}, {'data', 'zero'})


tap.main()
