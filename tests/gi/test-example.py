#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one of the programs in bindings/*/examples. usage: test-example.py partitions|overlay|copy COMMAND..."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import tap  # noqa: E402

DATA = pathlib.Path(tap.source_root()) / 'tests' / 'data'
FACTS = json.loads((DATA / 'samples.json').read_text())
NAME, *COMMAND = sys.argv[1:]
MIB = 1 << 20


def example(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=50)


def quiet(command, **options):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True,
                          env=tap.plain_environment(), **options).stdout


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program, path=os.environ['PATH'] + ':/sbin:/usr/sbin')]
    if missing:
        tap.skip(f'{", ".join(missing)} missing')


def in_folder(function):
    """A test with a folder of its own."""
    def run():
        with tempfile.TemporaryDirectory(prefix='imago-example-') as folder:
            function(pathlib.Path(folder))
    run.__name__ = function.__name__
    return tap.test(run)


def sfdisk(*arguments, **options):
    return quiet([shutil.which('sfdisk', path=os.environ['PATH'] + ':/sbin:/usr/sbin'), *arguments], **options)


# ---- partitions ----

def partitioned(folder, script):
    """A qcow2 disk with the partitions of an sfdisk script, and what sfdisk says they are."""
    raw, disk = folder / 'disk.raw', folder / 'disk.qcow2'
    with open(raw, 'wb') as file:
        file.truncate(64 * MIB)
    sfdisk('--quiet', raw, input=script)
    quiet(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, disk])
    return disk, json.loads(sfdisk('--json', raw))['partitiontable']['partitions']


def lines_for(partitions):
    for partition in partitions:
        number = partition['node'].removesuffix('.raw').rpartition('raw')[2]
        kind = partition['type'] if '-' in partition['type'] else partition['type'].rjust(2, '0')
        line = f'{number}: {partition["size"] * 512} bytes at {partition["start"] * 512}, type {kind}'
        yield line + (f', {partition["name"]}' if partition.get('name') else '')


def shows(folder, script):
    needs('sfdisk', 'qemu-img')
    disk, partitions = partitioned(folder, script)
    result = example(disk)
    tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
    tap.equal(result.stdout.splitlines(), list(lines_for(partitions)))


def shows_an_mbr(folder):
    shows(folder, 'label: dos\nsize=8MiB, type=83\nsize=16MiB, type=7, bootable\ntype=c\n')


def shows_a_gpt(folder):
    shows(folder, 'label: gpt\nsize=8MiB, type=U, name="EFI system"\nsize=16MiB, type=L, name="Wurzel äöü"\n'
                  'type=S\n')


def shows_nothing_of_an_empty_disk(folder):
    needs('qemu-img')
    quiet(['qemu-img', 'create', '-f', 'qcow2', folder / 'disk.qcow2', '4M'])
    result = example(folder / 'disk.qcow2')
    tap.equal((result.returncode, result.stdout, result.stderr), (0, '', ''))


def refuses_a_damaged_gpt(folder):
    needs('sfdisk', 'qemu-img')
    disk, _ = partitioned(folder, 'label: gpt\nsize=8MiB\n')
    # The number of entries, in the header at the second sector.
    quiet(['qemu-io', '-f', 'qcow2', '-c', 'write -P 0xff 592 4', disk])
    result = example(disk)
    tap.equal((result.returncode, result.stdout), (1, ''), result.stderr)
    tap.true('damaged' in result.stderr, result.stderr)


# ---- overlay ----

def overlays_and_grows(folder):
    needs('qemu-img')
    shutil.copy(DATA / 'base.qcow2', folder)
    before = (folder / 'base.qcow2').read_bytes()
    size = FACTS['base.qcow2']['size'] + 8 * MIB
    result = example(folder / 'base.qcow2', folder / 'overlay.qcow2', size)
    tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
    tap.true(f'{size} bytes over base.qcow2' in result.stdout, result.stdout)
    info = json.loads(quiet(['qemu-img', 'info', '--output=json', folder / 'overlay.qcow2']))
    tap.equal((info['virtual-size'], info['backing-filename'], info['backing-filename-format']),
              (size, 'base.qcow2', 'qcow2'))
    quiet(['qemu-img', 'check', folder / 'overlay.qcow2'])
    quiet(['qemu-img', 'convert', '-O', 'raw', folder / 'overlay.qcow2', folder / 'disk.raw'])
    content = (folder / 'disk.raw').read_bytes()
    old = FACTS['base.qcow2']['size']
    tap.equal(hashlib.sha256(content[:old]).hexdigest(), FACTS['base.qcow2']['sha256'])
    tap.equal(content[old:].count(0), 8 * MIB, 'zeroes where it grew')
    tap.equal((folder / 'base.qcow2').read_bytes(), before, 'the base')


def refuses_a_missing_base(folder):
    result = example(folder / 'none.qcow2', folder / 'overlay.qcow2', MIB)
    tap.equal(result.returncode, 1, result.stdout + result.stderr)
    tap.true('none.qcow2' in result.stderr, result.stderr)
    tap.true(not (folder / 'overlay.qcow2').exists(), 'nothing was made')


# ---- copy ----

def copies_the_sample_disk(folder):
    output = folder / 'disk.raw'
    result = example(DATA / 'disk.qcow2', output)
    tap.equal((result.returncode, result.stderr), (0, ''), result.stdout)
    tap.true('4194304' in result.stdout, result.stdout)
    tap.true('  0 %' in result.stdout and '100 %' in result.stdout, result.stdout)
    tap.equal(hashlib.sha256(output.read_bytes()).hexdigest(), FACTS['disk.qcow2']['sha256'])


def reports_an_error(folder):
    shutil.copy(DATA / 'disk.qcow2', folder)
    result = example(folder / 'disk.qcow2', folder / 'disk.raw')
    tap.equal(result.returncode, 1, result.stdout + result.stderr)
    tap.true('base.qcow2' in result.stderr, result.stderr)
    tap.true(not (folder / 'disk.raw').exists(), 'nothing was made')


def large_disk(folder):
    """Takes much longer to copy than a signal takes to arrive."""
    block = os.urandom(MIB)
    with open(folder / 'large.raw', 'wb') as file:
        for _ in range(512):
            file.write(block)
    quiet(['qemu-img', 'create', '-f', 'qcow2', '-b', folder / 'large.raw', '-F', 'raw', folder / 'large.qcow2'])
    return folder / 'large.qcow2'


def ctrl_c_cancels(folder):
    needs('qemu-img')
    disk = large_disk(folder)
    with subprocess.Popen([*COMMAND, str(disk), str(folder / 'copy.raw')], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as program:
        seen = b''
        while b'%' not in seen:
            more = program.stdout.read1()
            tap.true(more, seen)
            seen += more
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=50)
    tap.equal((program.returncode, errors.decode().strip()), (130, 'cancelled'))
    tap.equal(sorted(os.listdir(folder)), ['large.qcow2', 'large.raw'])


TESTS = {
    'partitions': [shows_an_mbr, shows_a_gpt, shows_nothing_of_an_empty_disk, refuses_a_damaged_gpt],
    'overlay': [overlays_and_grows, refuses_a_missing_base],
    'copy': [copies_the_sample_disk, reports_an_error, ctrl_c_cancels],
}
for function in TESTS[NAME]:
    in_folder(function)
tap.main()
