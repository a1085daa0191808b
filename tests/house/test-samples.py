#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sample disks are what make-samples.py writes, and QEMU reads them as samples.json says."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tree
import tap

DATA = tree.ROOT / 'tests' / 'data'


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def need_qemu_img():
    if shutil.which('qemu-img') is None:
        tap.skip('there is no qemu-img')


def digest(path, *options):
    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder) / 'raw'
        run('qemu-img', 'convert', *options, '-O', 'raw', path, raw)
        return {'size': raw.stat().st_size, 'sha256': hashlib.sha256(raw.read_bytes()).hexdigest()}


def check_folder(folder):
    facts = json.loads((folder / 'samples.json').read_text())
    for name in ('base.qcow2', 'disk.qcow2'):
        run('qemu-img', 'check', folder / name)
        tap.equal(digest(folder / name), facts[name], name)
    tap.equal(digest(folder / 'disk.qcow2', '-l', 'before-upgrade'), facts['disk.qcow2@before-upgrade'])
    return facts


@tap.test
def committed_disks():
    need_qemu_img()
    check_folder(DATA)
    tap.true(sum(path.stat().st_size for path in DATA.glob('*.qcow2')) < 65536, 'small')


@tap.test
def generated_disks():
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, DATA / 'make-samples.py', folder)
        # The packed bytes depend on the version of zlib; what the guest sees does not.
        tap.equal((pathlib.Path(folder) / 'samples.json').read_text(), (DATA / 'samples.json').read_text())
        need_qemu_img()
        check_folder(pathlib.Path(folder))


tap.main()
