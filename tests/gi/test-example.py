#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one example of bindings/ on the sample disk. usage: test-example.py COMMAND..."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import tap  # noqa: E402

DATA = pathlib.Path(tap.source_root()) / 'tests' / 'data'
FACTS = json.loads((DATA / 'samples.json').read_text())
COMMAND = sys.argv[1:]


def example(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=50)


@tap.test
def converts_the_sample_disk():
    with tempfile.TemporaryDirectory(prefix='imago-example-') as folder:
        output = pathlib.Path(folder) / 'disk.raw'
        result = example(DATA / 'disk.qcow2', output)
        tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
        tap.true('4194304' in result.stdout, result.stdout)
        tap.true('100 %' in result.stdout, result.stdout)
        tap.equal(hashlib.sha256(output.read_bytes()).hexdigest(), FACTS['disk.qcow2']['sha256'])


@tap.test
def reports_an_error():
    with tempfile.TemporaryDirectory(prefix='imago-example-') as folder:
        shutil.copy(DATA / 'disk.qcow2', folder)
        output = pathlib.Path(folder) / 'disk.raw'
        result = example(pathlib.Path(folder) / 'disk.qcow2', output)
        tap.equal(result.returncode, 1, result.stdout + result.stderr)
        tap.true('base.qcow2' in result.stderr, result.stderr)
        tap.true(not output.exists(), 'nothing was made')


tap.main()
