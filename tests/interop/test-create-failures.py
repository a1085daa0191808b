#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Creating an image, or converting to one, when calls of the system fail, or when it is killed: nothing is left, nothing
is lost."""

import os
import signal
import subprocess

from imagotest import IMAGO, add_test, always_named, can_strace, create, diagnose, equal, good, main, run, test

OLD = b'what was there before'
CALLS = ['openat', 'ftruncate', 'pwrite64', 'fallocate', 'fsync', 'linkat', 'renameat']
SHAPES = [
    ('cluster_size=4k,preallocation=metadata', '3M'),
    ('cluster_size=4k,preallocation=falloc', '3M'),
    ('data_file=data,data_file_raw=on', '3M'),
]
CONVERSIONS = [
    ['-O', 'raw'],
    ['-O', 'qcow2'],
    ['-O', 'qcow2', '-c', '-o', 'cluster_size=128k'],
]


def write_old():
    with open('image', 'wb') as file:
        file.write(OLD)


def check_old():
    equal(os.listdir('.'), ['image'])
    with open('image', 'rb') as file:
        equal(file.read(), OLD)


def empty_folder():
    for name in os.listdir('.'):
        os.unlink(name)


def count_calls(call):
    """How many of them there are before main (): none that the loader makes is of interest."""
    log = os.path.join(os.path.dirname(os.getcwd()), 'strace-%d' % os.getpid())
    good('strace', '-f', '-o', log, '-e', 'trace=%s' % call, IMAGO, 'create', '--help')
    with open(log) as file:
        count = sum(call + '(' in line for line in file)
    os.unlink(log)
    return count


def fail_each(call, args, judge, replace):
    """The nth call of this kind fails, for all n until it makes no difference. Returns how many failed."""
    # The loader opens much, and in another thread.
    first = n = 0 if call == 'openat' else count_calls(call)
    paths = ['-P', os.getcwd()] if call == 'openat' else []
    while True:
        n += 1
        empty_folder()
        if replace:
            write_old()
        log = os.path.join(os.path.dirname(os.getcwd()), 'strace-%d' % os.getpid())
        result = run('strace', '-f', '-o', log, *paths, '-e', 'trace=%s' % call, '-e',
                     'inject=%s:error=EIO:when=%d' % (call, n), IMAGO, *args)
        with open(log) as file:
            injected = 'INJECTED' in file.read()
        os.unlink(log)
        if result.status == 0:
            judge()
            if not injected:
                return n - 1 - first
        elif not replace:
            equal(os.listdir('.'), [])
        elif call == 'fsync' and os.path.getsize('image') != len(OLD):
            # The very last call: the new image has its name, but it is not known whether that will last.
            judge()
        else:
            check_old()


def run_command(what, args, judge):
    can_strace()
    for replace in (False, True):
        counts = {call: fail_each(call, args, judge, replace) for call in CALLS}
        diagnose('%s: calls that failed: %s' % (what, counts))
        assert counts['pwrite64'] >= 2, counts
        assert counts['fsync'] >= 2, counts
        assert counts['openat'] >= 2, counts


def run_shape(shape, size):
    run_command(shape, ['create', '-q', '-f', 'qcow2', '-o', shape, 'image', size],
                lambda: good('qemu-img', 'check', 'image'))


def make_source(megabytes):
    """In another folder: what is here is the new image."""
    path = os.path.join(os.path.dirname(os.getcwd()), 'source-%d' % os.getpid())
    with open(path, 'wb') as file:
        for number in range(megabytes):
            file.write(os.urandom(1 << 19) + b'%d bottles ' % number * 40000)
    return path


def run_conversion(options):
    path = make_source(3)
    try:
        run_command(' '.join(options), ['convert', '-f', 'raw', *options, path, 'image'],
                    lambda: good('qemu-img', 'compare', '-f', 'raw', '-F', options[1], path, 'image'))
    finally:
        os.unlink(path)


def make_bitmaps():
    path = os.path.join(os.path.dirname(os.getcwd()), 'bitmaps-%d' % os.getpid())
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', path, '8M')
    for name in 'one', 'two':
        good('qemu-img', 'bitmap', '--add', '-g', '512', path, name)
    good('qemu-io', '-c', 'write -q 0 2M', '-c', 'write -q 5M 64k', path)
    return path


@test
def test_bitmap_faults():
    """faults while bitmaps are copied"""
    can_strace()
    path = make_bitmaps()

    def judge():
        good('qemu-img', 'check', 'image')
        assert good('qemu-img', 'info', 'image').out.count('granularity') == 2

    args = ['convert', '--bitmaps', '-m', '1', '-O', 'qcow2', '-o', 'cluster_size=4k', path, 'image']
    counts = {call: fail_each(call, args, judge, False) for call in ('pread64', 'pwrite64', 'fsync')}
    diagnose('calls that failed: %s' % counts)
    assert counts['pwrite64'] >= 8, counts
    os.unlink(path)


@test
def test_kill_conversion():
    """kill -9 while converting leaves nothing and does not touch the source"""
    path = make_source(40)
    before = good('sha256sum', path).out
    killed = 0
    for number in range(12):
        process = subprocess.Popen([IMAGO, 'convert', '-f', 'raw', '-O', 'qcow2', *(['-c'] if number % 2 else []), path, 'image'])
        while process.poll() is None and not grown(process.pid, (number + 1) << 21):
            pass
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
            assert os.listdir('.') in ([], ['image'])
        if os.path.exists('image'):
            equal(run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', path, 'image').status, 0)
            os.unlink('image')
    equal(good('sha256sum', path).out, before)
    os.unlink(path)
    diagnose('killed %d of 12 conversions' % killed)
    assert killed >= 4


def trace_copies(path, source_format, inject=()):
    """Converts with -C, one thread; returns how often the kernel was asked to copy."""
    log = os.path.join(os.path.dirname(os.getcwd()), 'strace-%d' % os.getpid())
    good('strace', '-f', '-o', log, '-e', 'trace=copy_file_range', *inject, IMAGO, 'convert', '-C', '-m', '1', '-f',
         source_format, '-O', 'raw', path, 'image')
    with open(log) as file:
        count = sum('copy_file_range(' in line for line in file)
    os.unlink(log)
    good('qemu-img', 'compare', '-f', source_format, '-F', 'raw', path, 'image')
    os.unlink('image')
    return count


@test
def test_kernel_copies():
    """-C: whatever the kernel says to copying, the result is the same; what it never does is not asked for again"""
    can_strace()
    raw, qcow2 = make_source(4), 'source.qcow2'
    good('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2)
    for path, source_format in (raw, 'raw'), (qcow2, 'qcow2'):
        assert trace_copies(path, source_format) >= 4
        for error in 'EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOSYS', 'ETXTBSY':
            equal(trace_copies(path, source_format, ['-e', 'inject=copy_file_range:error=%s' % error]), 1, error)
        for error in 'EIO', 'ENOSPC':
            assert trace_copies(path, source_format, ['-e', 'inject=copy_file_range:error=%s' % error]) >= 4, error
            trace_copies(path, source_format, ['-e', 'inject=copy_file_range:error=%s:when=2' % error])
        # The end of a file that is not there, and a signal.
        trace_copies(path, source_format, ['-e', 'inject=copy_file_range:retval=0:when=2'])
        trace_copies(path, source_format, ['-e', 'inject=copy_file_range:error=EINTR:when=1'])
    os.unlink(raw)


@test
def test_verify():
    """--verify finds a write that did nothing; without it nobody notices"""
    can_strace()
    path = make_source(4)
    for options in [], ['--verify']:
        result = run('strace', '-f', '-o', os.devnull, '-e', 'trace=pwrite64', '-e',
                     'inject=pwrite64:retval=%d:when=3' % (1 << 20), IMAGO, 'convert', '-m', '1', '-f', 'raw', '-O', 'raw',
                     *options, path, 'image')
        equal(result.status, 1 if options else 0, result)
        if options:
            assert 'reads otherwise than the source' in result.err, result
            equal(os.listdir('.'), [])
        else:
            equal(run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', path, 'image').status, 1)
            os.unlink('image')
    os.unlink(path)


def grown(pid, size=8 << 20):
    """Whether the process has a file of some megabytes open for writing."""
    try:
        for name in os.listdir('/proc/%d/fd' % pid):
            link = '/proc/%d/fd/%s' % (pid, name)
            if os.lstat(link).st_mode & 0o200 and os.stat(link).st_blocks * 512 > size:
                return True
    except OSError:
        pass
    return False


def kill_while_writing():
    process = subprocess.Popen([IMAGO, 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=full', 'image', '1G'])
    while process.poll() is None:
        if grown(process.pid):
            process.send_signal(signal.SIGKILL)
            break
    return process.wait()


@test
def test_no_tmpfile():
    """a file system whose files always have names; a signal leaves none, and no data file without its image"""
    can_strace()
    for options, files in ([], []), (['-o', 'data_file=data'], ['data']):
        create = ['create', '-q', '-f', 'qcow2', *options, 'image', '1M']
        command = always_named(*create)
        for call, n in ('openat', 1), ('renameat2', 1), ('renameat2', 2):
            empty_folder()
            result = run(*command, '-e', 'inject=%s:signal=TERM:delay_exit=20000:when=%d' % (call, n), IMAGO, *create)
            if result.status != 0:
                equal((result.status, os.listdir('.')), (-signal.SIGTERM, []))
                continue
            equal(sorted(os.listdir('.')), sorted(['image', *files]))
            good('qemu-img', 'check', 'image')
        empty_folder()


@test
def test_no_links():
    """a file system that has no links, or whose files cannot be renamed to nothing only, or both"""
    can_strace()
    create = ['create', '-q', '-f', 'qcow2', 'image', '1M']
    command = always_named(*create)
    replace = always_named(*create)
    unable = ['-e', 'inject=linkat:error=EPERM']
    unsure = ['-e', 'inject=renameat2:error=EINVAL']
    for faults in unable, unsure, [*unable, *unsure]:
        empty_folder()
        for start in command, replace:
            good(*start, *faults, IMAGO, *create)
            equal(os.listdir('.'), ['image'])
            good('qemu-img', 'check', 'image')
    empty_folder()
    # Killed between two names of one file: nothing is left by the next one.
    equal(run(*command, *unsure, '-e', 'inject=unlinkat:signal=KILL', IMAGO, *create).status, -signal.SIGKILL)
    equal(len(os.listdir('.')), 2)
    good(IMAGO, *create)
    equal(os.listdir('.'), ['image'])


@test
def test_kill():
    """kill -9 leaves nothing, and what was there before"""
    equal(kill_while_writing(), -signal.SIGKILL)
    equal(os.listdir('.'), [])
    write_old()
    equal(kill_while_writing(), -signal.SIGKILL)
    check_old()


@test
def test_file_too_large():
    """a limit on the size of files leaves nothing"""
    result = run('sh', '-c', 'trap "" XFSZ; ulimit -f 1000; exec "$@"', 'sh', IMAGO, 'create', '-q', '-f', 'qcow2',
                 '-o', 'preallocation=metadata', 'image', '1G')
    equal(result.status, 1, result)
    equal(os.listdir('.'), [])


@test
def test_in_use():
    """an image that QEMU has open is not replaced"""
    create('image', '1M')
    before = os.stat('image')
    user = subprocess.Popen(['qemu-io', 'image'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    user.stdin.write(b'write 0 512\n')
    user.stdin.flush()
    user.stdout.readline()
    result = run(IMAGO, 'create', '-q', '-f', 'qcow2', 'image', '5M')
    user.communicate(b'quit\n')
    equal(result.status, 1, result)
    equal(os.stat('image').st_ino, before.st_ino)
    good(IMAGO, 'create', '-q', '-f', 'qcow2', 'image', '5M')


for args in SHAPES:
    add_test('faults: %s' % args[0], lambda args=args: run_shape(*args))
for case in CONVERSIONS:
    add_test('faults: convert %s' % ' '.join(case), lambda case=case: run_conversion(case))
main(needs=['qemu-img', 'qemu-io'])
