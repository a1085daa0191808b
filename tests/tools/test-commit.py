# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago commit and imago rebase, beside qemu-img: the same disks, the same layers, the same messages."""

import os
import random
import shutil
import signal
import subprocess
import time

from imagotest import (IMAGO, add_test, assert_fails, can_strace, equal, good, imago, main, qemu_io, run, test)

MIB = 1 << 20


def make(name, layer, below=None):
    options = [part for part in layer['options'].split(',') if part]
    arguments = ['-o', ','.join(options)] if options else []
    if below:
        arguments += ['-b', below[0], '-F', below[1]]
    good('qemu-img', 'create', '-q', '-f', layer['format'], *arguments, name, str(layer['size']))


def fill(name, layer, seed):
    """Writes, zeroes and compressed clusters: some of the same bytes in each layer."""
    dice = random.Random(seed)
    commands = []
    for _ in range(layer.get('n', 14)):
        at = dice.randrange(0, layer['size'] // 512) * 512
        length = min(dice.choice([512, 4096, 65536, 200 * 1024]), layer['size'] - at)
        kind = dice.choice(['write -P %d' % dice.choice([7, seed]), 'write -P %d' % seed, 'write -z', 'write -z -u'])
        commands.append('%s %d %d' % (kind, at, length))
    qemu_io(name, commands, '-f', layer['format'])


def layer(format, size, options=''):
    return {'format': format, 'size': size, 'options': options}


def view(name):
    good('qemu-img', 'convert', '-O', 'raw', name, name + '.view')
    with open(name + '.view', 'rb') as file:
        content = file.read()
    os.unlink(name + '.view')
    return content


def read_raw(name, format):
    good('qemu-img', 'convert', '-f', format, '-O', 'raw', name, name + '.view')
    with open(name + '.view', 'rb') as file:
        content = file.read()
    os.unlink(name + '.view')
    return content


def depth_map(name):
    """Which bytes come from which layer: joined, as the formats' own limits split them differently."""
    runs = []
    for part in good('qemu-img', 'map', '--output=json', name).json():
        kind = (part['depth'] if not part['zero'] else None, part['zero'])
        if runs and runs[-1][2] == kind:
            runs[-1][1] += part['length']
        else:
            runs.append([part['start'], part['length'], kind])
    return runs


def data_in(runs):
    return {sector for start, length, (_, zero) in runs if not zero
            for sector in range(start // 512, (start + length + 511) // 512)}


def check(name, format):
    if format == 'qcow2':
        good('qemu-img', 'check', '-q', '-f', 'qcow2', name)


def backing_of(name):
    info = good('qemu-img', 'info', '-U', '--output=json', name).json()
    return info.get('backing-filename'), info.get('backing-filename-format'), info['virtual-size']


def both(folder_names, action):
    """Does @action in a copy of this folder with each of the programs; returns both folders."""
    for program, target in ((IMAGO, 'mine'), ('qemu-img', 'theirs')):
        os.mkdir(target)
        for name in folder_names:
            shutil.copy(name, target)
        here = os.getcwd()
        os.chdir(target)
        try:
            action(program)
        finally:
            os.chdir(here)


OVERLAYS = {
    'plain': '', 'v2': 'compat=0.10', '4k': 'cluster_size=4k', 'subclusters': 'extended_l2=on,cluster_size=64k',
    'zstd': 'compression_type=zstd', 'lazy': 'lazy_refcounts=on', '1 bit': 'refcount_bits=1', '2m': 'cluster_size=2M',
}
SIZES = {'equal': (3 * MIB, 3 * MIB), 'smaller base': (3 * MIB, 2 * MIB + 512 * 3), 'larger base': (2 * MIB + 512 * 5, 3 * MIB)}


# ---- commit ----

def commit_case(title, top, base, options=()):
    def case():
        make('base', base)
        make('top', top, ('base', base['format']))
        fill('base', base, 1)
        fill('top', top, 2)
        before = view('top')

        def action(program):
            equal(good(program, 'commit', '-f', 'qcow2', *options, 'top').out, '' if '-q' in options else 'Image committed.\n')
            equal(view('top'), before)
            equal(read_raw('base', base['format'])[:len(before)], before)
            check('top', 'qcow2')
            check('base', base['format'])
        both(['base', 'top'], action)
        equal(read_raw('mine/base', base['format']), read_raw('theirs/base', base['format']))
        # Where the clusters differ, qemu-img writes out zeroes in the larger ones; here they stay zeroes.
        mine, theirs = data_in(depth_map('mine/top')), data_in(depth_map('theirs/top'))
        if not mine <= theirs or (top['options'] == base['options'] == '' and mine != theirs):
            raise AssertionError('data only here: %r, only there: %r' % (sorted(mine - theirs), sorted(theirs - mine)))
        equal(backing_of('mine/base')[2], backing_of('theirs/base')[2])
        if '-d' not in options:
            os.truncate('mine/base', 0)
            good('qemu-img', 'rebase', '-u', '-b', '', 'mine/top')
            equal(view('mine/top').strip(b'\0'), b'', 'the overlay is empty')
    add_test('commit: ' + title, case)


for name, options in OVERLAYS.items():
    for sizes, (top, base) in SIZES.items():
        if name in ('plain', 'v2', 'subclusters') or sizes == 'equal':
            commit_case('%s, %s' % (name, sizes), layer('qcow2', top, options), layer('qcow2', base))
commit_case('raw base', layer('qcow2', 3 * MIB), layer('raw', 3 * MIB))
commit_case('shorter raw base', layer('qcow2', 3 * MIB), layer('raw', 2 * MIB))
commit_case('base of version 2', layer('qcow2', 3 * MIB), layer('qcow2', 3 * MIB, 'compat=0.10'))
commit_case('shorter base of version 2', layer('qcow2', 3 * MIB), layer('qcow2', 2 * MIB, 'compat=0.10'))
commit_case('base with subclusters', layer('qcow2', 3 * MIB, 'cluster_size=4k'),
            layer('qcow2', 3 * MIB, 'extended_l2=on'))
commit_case('kept', layer('qcow2', 3 * MIB), layer('qcow2', 3 * MIB), ['-d'])
commit_case('quiet', layer('qcow2', 3 * MIB), layer('qcow2', 3 * MIB), ['-q'])
commit_case('with a rate', layer('qcow2', 3 * MIB), layer('qcow2', 3 * MIB), ['-r', '1G', '-t', 'none'])


@test
def test_commit_deep():
    """commit -b into an image further below, over a shorter one between"""
    sizes = {'base': 3 * MIB, 'mid': 2 * MIB, 'top': 3 * MIB}
    below = None
    for name, size in sizes.items():
        make(name, layer('qcow2', size), below)
        below = (name, 'qcow2')
    for number, (name, size) in enumerate(sizes.items()):
        fill(name, layer('qcow2', size), number + 1)
    before = view('top')

    def action(program):
        top_map = depth_map('top')
        good(program, 'commit', '-b', 'base', '-f', 'qcow2', 'top')
        equal(depth_map('top')[0], top_map[0])
        equal(view('top'), before)
        for name in sizes:
            check(name, 'qcow2')
    both(list(sizes), action)
    equal(view('mine/base'), view('theirs/base'))
    equal(view('mine/base'), before)


@test
def test_commit_next_by_name():
    """commit -b of the next image keeps what the overlay has"""
    make('base', layer('qcow2', MIB))
    make('top', layer('qcow2', MIB), ('base', 'qcow2'))
    fill('top', layer('qcow2', MIB), 2)

    def action(program):
        before = depth_map('top')
        good(program, 'commit', '-b', 'base', '-f', 'qcow2', 'top')
        equal(depth_map('top'), before)
    both(['base', 'top'], action)


@test
def test_commit_messages():
    """commit refuses as qemu-img does"""
    make('base', layer('qcow2', MIB))
    make('top', layer('qcow2', MIB), ('base', 'qcow2'))
    for arguments in (['base'], ['-b', 'nope', 'top'], ['-r', 'x', 'top'], ['-t', 'foo', 'top'], ['-b', 'top', 'top'],
                      [], ['a', 'b']):
        theirs = run('qemu-img', 'commit', '-f', 'qcow2', *arguments)
        mine = imago('commit', '-f', 'qcow2', *arguments)
        equal((mine.status, mine.out), (theirs.status, theirs.out))
        line = theirs.err.splitlines()[0].split(': ', 1)[1]
        if line not in mine.err:
            raise AssertionError('%s\nis not as\n%s' % (mine, theirs))


@test
def test_commit_policy():
    """commit writes to no file that was not granted"""
    os.mkdir('other')
    make('other/base', layer('qcow2', MIB))
    make('top', layer('qcow2', MIB), (os.path.abspath('other/base'), 'qcow2'))
    qemu_io('top', ['write -P 1 0 64k'])
    before = open('other/base', 'rb').read()
    assert_fails(imago('commit', '-f', 'qcow2', 'top'), '--references=any')
    equal(open('other/base', 'rb').read(), before)
    good(IMAGO, 'commit', '-f', 'qcow2', '--references=any', 'top')


@test
def test_locked():
    """neither commits nor rebases what somebody has open"""
    make('base', layer('qcow2', MIB))
    make('new', layer('qcow2', MIB))
    make('top', layer('qcow2', MIB), ('base', 'qcow2'))
    qemu_io('top', ['write -P 1 0 64k'])
    for name, mode in (('base', ['-r']), ('base', []), ('top', [])):
        holder = subprocess.Popen(['qemu-io', '-f', 'qcow2', *mode, name], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        holder.stdout.read(1)
        assert_fails(imago('commit', '-f', 'qcow2', 'top'), 'is in use')
        if not mode:
            assert_fails(imago('rebase', '-f', 'qcow2', '-b', 'new', '-F', 'qcow2', 'top'), 'is in use')
        holder.communicate(b'quit\n')
    good(IMAGO, 'rebase', '-f', 'qcow2', '-b', 'new', '-F', 'qcow2', 'top')


# ---- rebase ----

def rebase_case(title, top, old, new, options=()):
    def case():
        names = ['top']
        if old:
            make('old', old)
            fill('old', old, 1)
            names.append('old')
        make('top', top, ('old', old['format']) if old else None)
        if new:
            make('new', new)
            fill('new', new, 3)
            names.append('new')
        fill('top', top, 2)
        before = view('top')

        def action(program):
            target = ['-b', 'new', '-F', new['format']] if new else ['-b', '']
            equal(good(program, 'rebase', '-f', 'qcow2', *options, *target, 'top').out, '')
            equal(view('top'), before)
            check('top', 'qcow2')
        both(names, action)
        equal(backing_of('mine/top'), backing_of('theirs/top'))
        if new is None:
            os.unlink('mine/old') if old else None
            equal(view('mine/top'), before)
        else:
            equal(read_raw('mine/new', new['format']), read_raw('new', new['format']))
        mine, theirs = os.stat('mine/top'), os.stat('theirs/top')
        if mine.st_blocks > theirs.st_blocks + 4096:
            raise AssertionError('%d blocks, qemu-img has %d' % (mine.st_blocks, theirs.st_blocks))
    add_test('rebase: ' + title, case)


REBASE_SIZES = {'equal': (3, 3, 3), 'longer new': (3, 2, 4), 'shorter new': (3, 4, 2), 'short both': (3, 1, 2),
                'long both': (2, 3, 4)}
for name, options in OVERLAYS.items():
    for sizes, (top, old, new) in REBASE_SIZES.items():
        if name in ('plain', 'v2', 'subclusters') or sizes == 'longer new':
            rebase_case('%s, %s' % (name, sizes), layer('qcow2', top * MIB, options), layer('qcow2', old * MIB + 1536),
                        layer('raw', new * MIB))
    rebase_case('%s, to none' % name, layer('qcow2', 3 * MIB, options), layer('qcow2', 2 * MIB + 512), None)
rebase_case('from none', layer('qcow2', 3 * MIB), None, layer('qcow2', 3 * MIB))
rebase_case('to none from none', layer('qcow2', 3 * MIB), None, None)


@test
def test_rebase_within_chain():
    """rebase onto an image of the same chain copies what lies between, and no more"""
    below = None
    for name in ('base', 'mid', 'top'):
        make(name, layer('qcow2', 3 * MIB), below)
        below = (name, 'qcow2')
    for number, name in enumerate(('base', 'mid', 'top')):
        fill(name, layer('qcow2', 3 * MIB), number + 1)
    before = view('top')

    def action(program):
        good(program, 'rebase', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top')
        equal(view('top'), before)
        check('top', 'qcow2')
        equal(backing_of('top')[:2], ('base', 'qcow2'))
    both(['base', 'mid', 'top'], action)


@test
def test_rebase_compressed():
    """rebase -c compresses what it copies"""
    make('old', layer('raw', 8 * MIB))
    qemu_io('old', ['write -P 5 0 8M'], '-f', 'raw')
    make('top', layer('qcow2', 8 * MIB), ('old', 'raw'))
    good(IMAGO, 'rebase', '-f', 'qcow2', '-c', '-b', '', 'top')
    equal(view('top'), b'\5' * (8 * MIB))
    check('top', 'qcow2')
    if os.stat('top').st_size > 2 * MIB:
        raise AssertionError('not compressed: %d bytes' % os.stat('top').st_size)


@test
def test_rebase_unsafe():
    """rebase -u changes the name and nothing else"""
    make('old', layer('raw', MIB))
    make('top', layer('qcow2', MIB), ('old', 'raw'))
    os.unlink('old')
    for target in (['-b', 'some/where.raw', '-F', 'raw'], ['-b', 'x' * 900, '-F', 'qcow2'], ['-b', ''],
                   ['-b', 'back', '-F', 'raw'], []):
        def action(program):
            good(program, 'rebase', '-u', '-f', 'qcow2', *target, 'top')
        both(['top'], action)
        equal(backing_of('mine/top'), backing_of('theirs/top'))
        good('qemu-img', 'check', '-q', 'json:{"driver": "qcow2", "backing": null, '
             '"file": {"driver": "file", "filename": "mine/top"}}')
        shutil.copy('mine/top', 'top')
        shutil.rmtree('mine')
        shutil.rmtree('theirs')


@test
def test_rebase_messages():
    """rebase refuses as qemu-img does"""
    make('base', layer('qcow2', MIB))
    make('top', layer('qcow2', MIB), ('base', 'qcow2'))
    for arguments in (['-b', 'base', 'top'], ['-u', '-b', 'base', 'top'], ['-b', 'base', '-F', 'foo', 'top'], ['top'],
                      ['-t', 'x', '-b', 'base', '-F', 'qcow2', 'top'], ['-T', 'x', '-b', 'base', '-F', 'qcow2', 'top'],
                      ['-b', 'nope', '-F', 'qcow2', 'top'], []):
        theirs = run('qemu-img', 'rebase', '-f', 'qcow2', *arguments)
        mine = imago('rebase', '-f', 'qcow2', *arguments)
        equal((mine.status, mine.out), (theirs.status, theirs.out))
        line = theirs.err.splitlines()[0].split(': ', 1)[1].split(': Could not open')[0]
        if line not in mine.err:
            raise AssertionError('%s\nis not as\n%s' % (mine, theirs))
    make('over', layer('qcow2', MIB), ('top', 'raw'))
    os.symlink('top', 'link')
    for name, format in [('top', 'qcow2'), ('top', 'raw'), ('over', 'qcow2'), ('link', 'raw')]:
        assert_fails(imago('rebase', '-f', 'qcow2', '-b', name, '-F', format, 'top'))
    equal(backing_of('top')[0], 'base')
    make('raw', layer('raw', MIB))
    assert_fails(imago('rebase', '-f', 'raw', '-b', 'base', '-F', 'qcow2', 'raw'), 'Could not change the backing file')


# ---- killed ----

def killed_case(title, arguments, names, n):
    def case():
        make('base', layer('qcow2', 32 * MIB))
        make('other', layer('qcow2', 32 * MIB))
        make('top', layer('qcow2', 32 * MIB), ('base', 'qcow2'))
        for number, name in enumerate(('base', 'other', 'top')):
            fill(name, dict(layer('qcow2', 32 * MIB), n=100), number + 1)
        qemu_io('top', ['write -P 9 4M 15M'])
        qemu_io('base', ['write -P 8 20M 10M'])
        before = view('top')
        for name in names:
            shutil.copy(name, name + '.saved')
        dice = random.Random(1)
        n_killed = 0
        for round in range(n):
            for name in names:
                shutil.copy(name + '.saved', name)
            process = subprocess.Popen([IMAGO, *arguments], stdout=subprocess.DEVNULL)
            time.sleep(dice.random() * 0.08)
            process.send_signal(signal.SIGKILL)
            n_killed += process.wait() == -signal.SIGKILL
            equal(view('top'), before)
            for name in names:
                if run('qemu-img', 'check', '-q', name).status not in (0, 3):
                    raise AssertionError('%s is damaged' % name)
            if round % 5 == 0:
                good(IMAGO, *arguments)
                equal(view('top'), before)
        print('# %d of %d were killed before they were done' % (n_killed, n))
    add_test('killed: ' + title, case)


killed_case('commit', ['commit', '-q', '-f', 'qcow2', 'top'], ['base', 'top'], 10)
killed_case('rebase', ['rebase', '-f', 'qcow2', '-b', 'other', '-F', 'qcow2', 'top'], ['top'], 8)
killed_case('rebase to none', ['rebase', '-f', 'qcow2', '-b', '', 'top'], ['top'], 6)


@test
def test_stopped():
    """SIGTERM at any flush leaves no cluster that is in use by nothing"""
    can_strace()
    make('base', layer('qcow2', 8 * MIB))
    make('top', layer('qcow2', 8 * MIB), ('base', 'qcow2'))
    qemu_io('top', ['write -P 9 1M 3M', 'write -z 5M 1M'])
    qemu_io('base', ['write -P 8 2M 4M'])
    before = view('top')
    for name in 'base', 'top':
        shutil.copy(name, name + '.saved')
    n, n_calls = 0, 1
    while n < n_calls:
        n += 1
        for name in 'base', 'top':
            shutil.copy(name + '.saved', name)
        # It has the time to be noticed before the job goes on.
        status = run('strace', '-f', '-qq', '-o', 'trace', '-e', 'trace=fdatasync', '-e',
                     'inject=fdatasync:signal=TERM:delay_exit=20000:when=%d' % n,
                     IMAGO, 'commit', '-q', '-f', 'qcow2', 'top').status
        assert status in (0, -signal.SIGTERM), status
        with open('trace') as file:
            n_calls = max(n_calls, sum('sync(' in line for line in file))
        for name in 'base', 'top':
            good('qemu-img', 'check', '-q', name)
        equal(view('top'), before)
    assert n >= 4, n


main(needs=['qemu-img', 'qemu-io'])
