#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/demo.py on the sample disk and on disks that it must refuse. usage: test-demo.py PYTHON-WITH-GI"""

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
FACTS = json.loads((DATA / 'samples.json').read_text())


def demo(image, output):
    return subprocess.run([sys.argv[1], tree.ROOT / 'scripts' / 'demo.py', image, output], capture_output=True,
                          text=True, timeout=50)


@tap.test
def reads_the_sample_disk():
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / 'disk.raw'
        for _ in range(2):
            result = demo(DATA / 'disk.qcow2', output)
            tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
            tap.equal(hashlib.sha256(output.read_bytes()).hexdigest(), FACTS['disk.qcow2']['sha256'])
        for fact in ('before-upgrade', 'since-monday', 'base.qcow2', 'compressed', '100.0%', '4,194,304'):
            tap.true(fact in result.stdout, f'{fact} in {result.stdout}')


@tap.test
def reads_a_raw_disk():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / 'floppy.img').write_bytes(bytes(range(256)) * 5760)
        result = demo(pathlib.Path(folder) / 'floppy.img', pathlib.Path(folder) / 'out.raw')
        tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
        tap.equal((pathlib.Path(folder) / 'out.raw').read_bytes(), bytes(range(256)) * 5760)


@tap.test
def refuses_a_reference_elsewhere():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        content = (DATA / 'disk.qcow2').read_bytes()
        (folder / 'disk.qcow2').write_bytes(content.replace(b'base.qcow2', b'/etc/fstab'))
        result = demo(folder / 'disk.qcow2', folder / 'out.raw')
        tap.equal(result.returncode, 1)
        tap.true('/etc/fstab' in result.stderr and 'side by side' in result.stderr, result.stderr)
        tap.true('Traceback' not in result.stderr and not (folder / 'out.raw').exists(), result.stderr)


@tap.test
def refuses_a_missing_reference():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(DATA / 'disk.qcow2', folder)
        result = demo(pathlib.Path(folder) / 'disk.qcow2', pathlib.Path(folder) / 'out.raw')
        tap.equal(result.returncode, 1)
        tap.true('base.qcow2' in result.stderr and 'Traceback' not in result.stderr, result.stderr)


tap.main()
