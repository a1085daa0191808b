#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The types of the API for Python's type checkers. usage: test-pyi.py Imago.pyi Imago-1.0.gir"""

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import coverage  # noqa: E402
import tap  # noqa: E402

STUB, GIR = (pathlib.Path(name).resolve() for name in sys.argv[1:])
EXAMPLES = pathlib.Path(tap.source_root()) / 'bindings' / 'python' / 'examples'
IMPORT = 'from gi.repository import Gio, GLib, Imago\n'

# As much of the types of PyGObject, which has none of its own, as the stub and the programs need.
ANYTHING = 'from typing import Any\ndef __getattr__(name: str) -> Any: ...\n'
STAND_INS = {
    '__init__.pyi': 'def require_version(name: str, version: str) -> None: ...\n',
    'repository/__init__.pyi': '',
    'repository/GObject.pyi': """
class Object:
    def connect(self, signal: str, handler: object, *data: object) -> int: ...
class GInterface: ...
class GBoxed: ...
class GType: ...
class GEnum(int): ...
class GFlags(int): ...
""",
    'repository/GLib.pyi': ANYTHING + """
class Error(RuntimeError):
    message: str
class Bytes:
    def get_data(self) -> bytes: ...
""",
    'repository/Gio.pyi': ANYTHING + """
from gi.repository import GObject
class File(GObject.GInterface):
    @staticmethod
    def new_for_path(path: str) -> File: ...
""",
}

RIGHT = '''
import array
import pathlib


async def main() -> int:
    async with await Imago.Image.open_async('disk.qcow2', format_name='qcow2') as disk:
        data: GLib.Bytes = await disk.read_bytes_async(0, 512)
        info: Imago.ImageInfo = await disk.query_info_async()
        await Imago.ConvertJob.new(disk, Gio.File.new_for_path('disk.raw')).run_async()
        return info.get_virtual_size()


def read(disk: Imago.Image) -> bytes:
    disk[0:4] = memoryview(b'data')
    disk.write_bytes(4, array.array('I', [1, 2]))
    disk.readinto(0, array.array('I', [0, 0]))
    disk.read_bytes_async(0, 1, 0, None, print)
    for extent in disk.extents():
        print(extent.get_offset() + len(disk), extent.get_kind() == Imago.ExtentKind.DATA)
    first: int = disk[0]
    return disk[first:-1]


try:
    with Imago.Image.open('disk.qcow2', writable=True) as disk:
        print(read(disk), Imago.run(main()) + 1)
    Imago.Image.create(pathlib.Path('over.qcow2'), backing_file='disk.qcow2', backing_format='qcow2').close()
    raise Imago.ReadOnlyError('the disk is a ROM')
except Imago.LockedError as error:
    print(error.message)
'''

# Each line is wrong.
WRONG = '''
Imago.Image.open(7)
Imago.Image.open('disk.qcow2', writeable=True)
Imago.NullStorage.new(1).read_bytes('0', 1)
Imago.NullStorage.new(1).flash()
Imago.Image.open('disk')[0:1].get_data()
Imago.Image.open('disk')[0:1] = 'text'
Imago.Image.open('disk').get_size() + 'bytes'
Imago.ExtentKind.NONSENSE
Imago.run(5)
Imago.LokedError
Imago.Image.open('disk').write_bytes(0, 'text')
Imago.Image.open('disk')[0:4] = 4
Imago.Image.open('disk').readinto(0, b'text')
Imago.Image.create('over.qcow2', backing_file=7)
'''


def checked(*files, text=None):
    """What mypy says about programs that see the stub where gi-stubs would be installed."""
    if shutil.which('mypy') is None:
        tap.skip('mypy missing')
    with tempfile.TemporaryDirectory(prefix='imago-pyi-') as folder:
        place = pathlib.Path(folder) / 'stubs' / 'gi' / 'repository'
        place.mkdir(parents=True)
        for name, stand_in in STAND_INS.items():
            (place.parent / name).write_text(stand_in)
        shutil.copy(STUB, place / 'Imago.pyi')
        if text is not None:
            program = pathlib.Path(folder) / 'program.py'
            program.write_text(IMPORT + text)
            files = [program]
        # Neither the caches nor the settings of the user.
        result = subprocess.run(['mypy', '--config-file=', f'--cache-dir={folder}/cache', '--ignore-missing-imports',
                                 '--namespace-packages', '--check-untyped-defs', '--no-site-packages', *map(str, files)],
                                env=dict(os.environ, MYPYPATH=f'{folder}/stubs'), cwd=folder,
                                capture_output=True, text=True)
        tap.equal(result.stderr, '')
        return result.stdout


@tap.test
def everything_is_there():
    tree = ast.parse(STUB.read_text())
    found = {(None, node.name) for node in tree.body if isinstance(node, ast.FunctionDef)}
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        found |= {(owner.name, node.name) for node in owner.body if isinstance(node, ast.FunctionDef)}
    functions = [(owner, name) for owner, _, name in coverage.public_functions(GIR)]
    tap.equal([function for function in functions if function not in found], [])
    tap.true(len(functions) > 200, f'{len(functions)} functions')


@tap.test
def the_stub_is_accepted():
    output = checked(STUB)
    tap.true('Success' in output, output)


@tap.test
def right_programs_are_accepted():
    output = checked(text=RIGHT)
    tap.true('Success' in output, output)


@tap.test
def the_examples_are_accepted():
    for example in ('partitions', 'overlay', 'copy'):
        output = checked(EXAMPLES / f'{example}.py')
        tap.true('Success' in output, output)


@tap.test
def wrong_programs_are_refused():
    output = checked(text=WRONG)
    lines = {int(line.split(':')[1]) for line in output.splitlines() if ': error:' in line}
    first = IMPORT.count('\n') + 2
    tap.equal(sorted(lines), list(range(first, first + len(WRONG.strip().splitlines()))), output)


tap.main()
