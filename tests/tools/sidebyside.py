# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""One command line, run by QEMU's program and by ours in folders with the same files.

A file in side-by-side/ lists the cases of one subcommand:

    case('info', '-U', 'a.qcow2')
    differs('why this is so on purpose', 'info', 'x')

Compared are the exit status, the standard output (JSON without what later versions of QEMU add, and in its order),
the last line of the standard error output, and which files there are afterwards and what disks they hold. A case
that differs() must differ, so that the list of exceptions stays true; with status= the exit status that ours must
have."""

import json
import os
import re
import shutil

from imagotest import IMAGO, create, good, poke, qemu_io, run, without_later_keys

IO_TIMES = re.compile(r'(?:\d+\.\d+ sec|\d+:\d\d:\d\d\.\d\d) \([0-9.e+-]+ [A-Za-z]+/sec and [0-9.e+-]+ ops/sec\)|'
                      r'\d+:\d\d:\d\d\.\d\d,[0-9.]+,[0-9.]+')
PROMPT = re.compile(r'\b(qemu-io|imago)> ')
BENCH_TIME = re.compile(r'Run completed in [0-9.]+ seconds')
NAMES = re.compile(r'^(qemu-img|qemu-io|imago)( io)?: ')
# Where help is; QEMU's later versions name the subcommand too.
HELP_HINT = re.compile(r"^Try '(qemu-img|imago|qemu-io)( [a-z]+)? --help' for more information$")
# What went wrong with a file is told in the library's words, after these in QEMU's.
CAUSE = re.compile(r"^(can't open device .*?: |can't open: |Could not open '.*?': |Failed request: |Check failed|Failed to load snapshot: |"
                   r".*?: error while creating output image: |Could not open new backing file '.*?': "
                   r'|(?:read|readv|write|writev|discard|truncate|aio_\w+) failed: ).*$', re.S)

cases = []


class Case:
    def __init__(self, argv, reason=None, status=None, stdin='', error_text=True):
        self.argv = [str(arg) for arg in argv]
        self.reason = reason
        self.status = status
        self.stdin = stdin
        self.error_text = error_text

    def __str__(self):
        return ' '.join(repr(arg) if not arg or ' ' in arg else arg for arg in self.argv)


def case(*argv, **kwargs):
    """error_text=False: the message is worded differently, with no less in it; everything else is equal."""
    cases.append(Case(argv, **kwargs))


def differs(reason, *argv, **kwargs):
    cases.append(Case(argv, reason=reason, **kwargs))


def usage_cases(command, *operands):
    """What every subcommand says of mistakes."""
    case(command, '--bogus', *operands)
    case(command, '-Z', *operands)
    case(command, '-f')
    case(command, *operands, '--object')


# ---- the files ----

IMAGES = ['a.qcow2', 'base.raw', 'snap.qcow2', 'comp.qcow2', 'zstd.qcow2', 'v2.qcow2', 'data.qcow2', 'ext.qcow2',
          'bitmap.qcow2', 'lazy.qcow2', 'small.qcow2', 'empty.raw', 'odd.raw', 'sub/over.qcow2', 'full.qcow2']
QCOW2 = [name for name in IMAGES if name.endswith('.qcow2')]
RAW = [name for name in IMAGES if name.endswith('.raw')]


def make_files():
    """Small images of every kind, in the current folder."""
    create('base.raw', '1M', 'raw')
    qemu_io('base.raw', ['write -P 7 0 4k', 'write -P 8 512k 64k'], '-f', 'raw')
    create('a.qcow2', '2M', backing=('base.raw', 'raw'))
    qemu_io('a.qcow2', ['write -P 1 64k 64k', 'write -z 256k 64k', 'write -P 3 1M 128k'])
    create('snap.qcow2', '1M')
    for name in ['one', 'two']:
        qemu_io('snap.qcow2', ['write -P 5 0 64k'])
        good('qemu-img', 'snapshot', '-c', name, 'snap.qcow2')
    create('comp.qcow2', '1M')
    qemu_io('comp.qcow2', ['write -c -P 3 64k 64k', 'write -P 4 0 64k'])
    create('zstd.qcow2', '1M', options='compression_type=zstd')
    qemu_io('zstd.qcow2', ['write -c -P 3 64k 64k'])
    create('v2.qcow2', '1M', options='compat=0.10')
    create('data.qcow2', '1M', options='data_file=data.raw,data_file_raw=on')
    qemu_io('data.qcow2', ['write -P 4 64k 64k'])
    create('ext.qcow2', '1M', options='extended_l2=on,cluster_size=64k')
    qemu_io('ext.qcow2', ['write -P 4 2k 2k', 'write -z 64k 4k'])
    create('bitmap.qcow2', '1M')
    good('qemu-img', 'bitmap', '--add', '-g', '32k', 'bitmap.qcow2', 'b0')
    good('qemu-img', 'bitmap', '--add', '--disable', 'bitmap.qcow2', 'b1')
    shutil.copy('bitmap.qcow2', 'both.qcow2')
    good('qemu-img', 'snapshot', '-c', 'one', 'both.qcow2')
    good('qemu-img', 'resize', '-q', 'both.qcow2', '2M')
    create('cut.qcow2', '1M')
    qemu_io('cut.qcow2', ['write -c -P 3 64k 64k'])
    good('qemu-img', 'resize', '-q', '--shrink', 'cut.qcow2', '96k')
    create('lazy.qcow2', '1M', options='lazy_refcounts=on,refcount_bits=1')
    create('small.qcow2', '100k', options='cluster_size=512')
    qemu_io('small.qcow2', ['write -P 4 10k 20k'])
    create('old.qcow2', '20k', options='compat=0.10,cluster_size=4k', backing=('small.qcow2', 'qcow2'))
    create('full.qcow2', '256k', options='preallocation=full')
    open('empty.raw', 'w').close()
    with open('odd.raw', 'wb') as file:
        file.write(b'x' * 100001)
    os.mkdir('sub')
    good('cp', 'base.raw', 'sub')
    create('sub/base.qcow2', '1M', backing=('base.raw', 'raw'))
    create('sub/over.qcow2', '1M', backing=('base.qcow2', 'qcow2'))
    make_damaged()


def make_damaged():
    create('leak.qcow2', '1M')
    qemu_io('leak.qcow2', ['write -P 1 0 192k'])
    with open('leak.qcow2', 'rb') as file:
        table = int.from_bytes(file.read(48)[40:48], 'big')
        file.seek(table)
        second = int.from_bytes(file.read(8), 'big') & ((1 << 56) - 512)
    shutil.copy('leak.qcow2', 'corrupt.qcow2')
    poke('leak.qcow2', second + 8, bytes(8))
    # Two guest clusters in one of the file.
    with open('corrupt.qcow2', 'rb') as file:
        file.seek(second)
        entry = file.read(8)
    poke('corrupt.qcow2', second + 16, entry)


def look(folder):
    """What is there, to see whether something was written."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(path, name)
            status = os.stat(full)
            found[os.path.relpath(full, folder)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_blocks)
    return found


# ---- one run ----

def run_in(folder, program, argv, stdin):
    before = os.getcwd()
    os.chdir(folder)
    try:
        return run(program, *argv, stdin=stdin)
    finally:
        os.chdir(before)


def last_line(result):
    """The last line of the errors, without what only the program's name makes different."""
    lines = [line for line in result.err.splitlines() if line]
    if not lines:
        return ''
    line = lines[-1]
    if HELP_HINT.match(line):
        # QEMU's older versions say less: the line above must be equal too.
        return 'Try --help / ' + (NAMES.sub('', lines[-2]) if len(lines) > 1 else '')
    return CAUSE.sub(r'\1', NAMES.sub('', line))


def output(result):
    try:
        return json.dumps(without_later_keys(json.loads(result.out)))
    except ValueError:
        pass
    text = BENCH_TIME.sub('Run completed', IO_TIMES.sub('TIMES', result.out))
    return PROMPT.sub('> ', text)


def has_all_files(folder, info):
    """Whether the disk can be read from outside of its folder."""
    backing = info.get('full-backing-filename')
    data_file = info.get('format-specific', {}).get('data', {}).get('data-file')
    return data_file is None and (backing is None or os.path.exists(os.path.join(folder, backing)))


def describe(folder, name):
    """The disk in a file, as far as two programs must agree on it, and whether it can be read."""
    format = 'qcow2' if open(os.path.join(folder, name), 'rb').read(4) == b'QFI\xfb' else 'raw'
    info = run_in(folder, 'qemu-img', ['info', '-f', format, '--output=json', name], '')
    if info.status != 0:
        return (format, 'unreadable', False)
    info = info.json()
    specific = info.get('format-specific', {}).get('data', {})
    return (format, info['virtual-size'], info.get('cluster-size'), info.get('backing-filename'),
            info.get('backing-filename-format'), specific.get('compat'), specific.get('lazy-refcounts'),
            specific.get('refcount-bits'), specific.get('extended-l2'), specific.get('compression-type'),
            specific.get('data-file'), has_all_files(folder, info))


def compare_files(mine, theirs, changed):
    found = []
    for name in sorted(changed):
        paths = [os.path.join(folder, name) for folder in (mine, theirs)]
        exist = [os.path.exists(path) for path in paths]
        if exist[0] != exist[1]:
            found.append('%s: here %s, there %s' % (name, *exist))
            continue
        if not exist[0]:
            continue
        disks = [describe(folder, name) for folder in (mine, theirs)]
        if disks[0] != disks[1]:
            found.append('%s: here %r, there %r' % (name, *disks))
            continue
        if not disks[0][-1]:
            continue
        result = run('qemu-img', 'compare', '-U', '-f', disks[0][0], '-F', disks[0][0], *paths)
        if result.status != 0:
            found.append('%s: %s%s' % (name, result.out, result.err))
    return found


def compare(this, mine, theirs):
    """What is not equal, as texts."""
    found = []
    if mine.status != theirs.status:
        found.append('status: %d, theirs %d' % (mine.status, theirs.status))
    if output(mine) != output(theirs):
        found.append('output: %r\n theirs: %r' % (output(mine), output(theirs)))
    if this.error_text:
        if last_line(mine) != last_line(theirs):
            found.append('errors: %r\n theirs: %r' % (last_line(mine), last_line(theirs)))
    elif bool(mine.err) != bool(theirs.err):
        found.append('errors: %r\n theirs: %r' % (mine.err, theirs.err))
    return found


class Folders:
    """The folders in which the programs run; each is renewed when a case has written to one."""

    names = ['theirs', 'linked', 'mine']

    def __init__(self):
        os.mkdir('template')
        before = os.getcwd()
        os.chdir('template')
        make_files()
        os.chdir(before)
        os.mkdir('bin')
        for name in ['qemu-img', 'qemu-io']:
            os.symlink(os.path.abspath(shutil.which(IMAGO) or IMAGO), os.path.join('bin', name))
        self.bin = os.path.abspath('bin')
        self.states = {}
        for name in self.names:
            good('cp', '-a', 'template', name)
            self.states[name] = look(name)

    def find_changed(self, name):
        now = look(name)
        before = self.states[name]
        return {file for file in now.keys() | before.keys() if now.get(file) != before.get(file)}

    def renew(self, name, changed):
        for file in changed:
            if os.path.lexists(os.path.join(name, file)):
                os.unlink(os.path.join(name, file))
        again = [file for file in changed if os.path.exists(os.path.join('template', file))]
        for file in again:
            good('cp', '-a', os.path.join('template', file), os.path.join(name, file))
        self.states[name] = look(name)


def run_case(this, folders):
    """Returns what differs from QEMU's program, called by our name and by its."""
    is_io = this.argv[0] == 'io'
    program = 'qemu-io' if is_io else 'qemu-img'
    argv = this.argv[1:] if is_io else this.argv
    theirs = run_in('theirs', program, argv, this.stdin)
    found = []
    for folder, mine in [('linked', run_in('linked', os.path.join(folders.bin, program), argv, this.stdin)),
                         ('mine', run_in('mine', IMAGO, this.argv, this.stdin))]:
        differences = compare(this, mine, theirs)
        if this.status is not None and mine.status != this.status:
            differences.append('status: %d, not %d as said' % (mine.status, this.status))
            this.reason = None
        found.append(differences)
    changes = {name: folders.find_changed(name) for name in folders.names}
    changed = set().union(*changes.values())
    if changed:
        for number, folder in enumerate(['linked', 'mine']):
            found[number] += compare_files(folder, 'theirs', changed)
        for name in folders.names:
            folders.renew(name, changes[name])
    return found
