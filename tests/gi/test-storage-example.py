#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one of the examples that carry an image in a storage of their own. usage: test-storage-example.py COMMAND..."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import tap  # noqa: E402

COMMAND = sys.argv[1:]
TEXT = 'über alle Berge ' * 5000  # longer than a cluster
MIB = 1024 * 1024


def qemu(*arguments):
    return subprocess.run(['qemu-img', *map(str, arguments)], env=tap.plain_environment(), capture_output=True, text=True, timeout=50)


@tap.test
def carries_an_image():
    if shutil.which('qemu-img') is None:
        tap.skip('qemu-img is not installed')
    with tempfile.TemporaryDirectory(prefix='imago-example-') as name:
        folder = pathlib.Path(name)
        content = bytes(range(256)) * (2 * MIB // 256)
        (folder / 'raw').write_bytes(content)
        tap.equal(qemu('convert', '-O', 'qcow2', folder / 'raw', folder / 'source').returncode, 0)
        tap.equal(qemu('resize', folder / 'source', '64M').returncode, 0)
        result = subprocess.run([*COMMAND, folder / 'source', folder / 'target', TEXT], capture_output=True, text=True,
                                timeout=50)
        tap.equal((result.returncode, result.stderr), (0, ''))
        tap.equal(result.stdout.splitlines()[0], TEXT)

        check = qemu('check', folder / 'target')
        tap.equal(check.returncode, 0, check.stdout + check.stderr)
        tap.equal(qemu('convert', '-O', 'raw', folder / 'target', folder / 'after').returncode, 0)
        text = TEXT.encode()
        wanted = content[:1000] + text + content[1000 + len(text):]
        tap.true((folder / 'after').read_bytes().rstrip(b'\0') == wanted.rstrip(b'\0'), 'the disk is what it should be')


@tap.test
def reports_an_error():
    with tempfile.TemporaryDirectory(prefix='imago-example-') as name:
        (pathlib.Path(name) / 'source').write_bytes(b'not an image' * 100)
        result = subprocess.run([*COMMAND, f'{name}/source', f'{name}/target', 'text'], capture_output=True, text=True,
                                timeout=50)
        tap.true(result.returncode != 0, result.stdout)
        tap.true(result.stderr != '', result.stderr)
        tap.true(not os.path.exists(f'{name}/target'), 'nothing was made')


tap.main()
