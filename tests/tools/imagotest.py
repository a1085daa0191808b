# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""A small TAP runner, and what the tests of the command share: running it and its peers."""

import contextlib
import functools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

IMAGO = os.environ.get('IMAGO_COMMAND', 'imago')
TIMEOUT = 60
# What the library was built with.
COMPRESSIONS = os.environ.get('IMAGO_COMPRESSIONS', 'gzip xz zstd').split()

_tests = []


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


class Result:
    """What a program did."""

    def __init__(self, args, status, out, err, usage, seconds):
        self.args = args
        self.status = status
        self.out = out
        self.err = err
        self.max_rss = usage.ru_maxrss * 1024
        self.seconds = seconds

    def __str__(self):
        return '%s\n  status %d\n  out: %s\n  err: %s' % (' '.join(self.args), self.status, self.out, self.err)

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError('no JSON: %s' % self) from None


def test(function):
    """Registers a test; its doc string is its name."""
    _tests.append((function.__doc__ or function.__name__, function))
    return function


def add_test(name, function):
    _tests.append((name, function))


def share(shard, number):
    """Leaves one test of each @number that are registered so far, and none to a shard beyond them."""
    _tests[:] = [entry for index, entry in enumerate(_tests) if index % number == shard]


def diagnose(text):
    for line in str(text).splitlines():
        print('# ' + line)
    sys.stdout.flush()


def main(needs=()):
    """Runs what was registered; skips everything if one of the programs @needs is missing."""
    missing = [program for program in needs if shutil.which(program) is None]
    if missing:
        print('1..0 # SKIP not installed: %s' % ', '.join(missing))
        return
    # Under nohup the command would ignore it, as it should.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    print('1..%d' % len(_tests))
    failed = 0
    for number, (name, function) in enumerate(_tests, 1):
        try:
            check_libraries(name)
            with in_folder():
                function()
            print('ok %d - %s' % (number, name))
        except Skip as reason:
            print('ok %d - %s # SKIP %s' % (number, name, reason))
        except Exception:
            failed += 1
            diagnose(traceback.format_exc())
            print('not ok %d - %s' % (number, name))
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


def check_libraries(name):
    """A test says by its name that it needs zstd, the one library without which there are disks that cannot be read."""
    if 'zstd' in name and 'zstd' not in COMPRESSIONS:
        raise Skip('the library was built without zstd')


@contextlib.contextmanager
def in_folder():
    """An empty working folder for one test."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix='imago-test-') as folder:
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def run(*args, stdin='', env=None):
    """Runs a program to its end; never raises because of its status."""
    args = [str(arg) for arg in args]
    environment = dict(os.environ, **(env or {}))
    if args[0].startswith('qemu-'):
        # Nobody looks for mistakes in it, and its buffers are large.
        environment.pop('MALLOC_PERTURB_', None)
    start = time.monotonic()
    # Files rather than pipes: wait4 () tells what this one child used.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
        source.write(stdin.encode())
        source.seek(0)
        process = subprocess.Popen(args, stdin=source, stdout=out, stderr=err, env=environment)
        status, usage = _wait(process)
        seconds = time.monotonic() - start
        out.seek(0)
        err.seek(0)
        return Result(args, status, out.read().decode('utf-8', 'replace'), err.read().decode('utf-8', 'replace'),
                      usage, seconds)


def _looks_until_end(pid):
    for _ in range(TIMEOUT * 100):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.01)
    return False


def _ends_in_time(pid):
    """Sleeps until it ends: who looks from time to time comes late to each of many thousand short programs."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # an old kernel, or a container that does not know the call
        return _looks_until_end(pid)
    ended, _, _ = select.select([handle], [], [], TIMEOUT)
    os.close(handle)
    return bool(ended)


def _wait(process):
    ended = _ends_in_time(process.pid)
    if not ended:
        process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not ended:
        raise AssertionError('still running after %d s: %s' % (TIMEOUT, ' '.join(process.args)))
    return process.returncode, usage


def good(*args, **kwargs):
    result = run(*args, **kwargs)
    assert result.status == 0, result
    return result


def imago(*args, **kwargs):
    return run(IMAGO, *args, **kwargs)


def qemu_img(*args, **kwargs):
    return run('qemu-img', *args, **kwargs)


def qemu_io(image, commands, *options):
    """Runs many commands in one process; all must succeed."""
    args = ['qemu-io', *options]
    for command in commands:
        args += ['-c', command]
    result = good(*args, image)
    assert 'failed' not in result.out, result
    return result


@functools.lru_cache(None)
def qemu_version():
    match = re.search(r'version (\d+)\.(\d+)', run('qemu-img', '--version').out)
    return (int(match.group(1)), int(match.group(2)))


def qemu_text_is_known():
    """Whether the text of info is the one that the command prints; later versions add child nodes."""
    return qemu_version() < (8, 0)


def without_later_keys(value):
    """JSON of qemu-img without what versions after 7.2 added: child nodes to info, "compressed" to map."""
    if isinstance(value, list):
        return [without_later_keys(item) for item in value]
    if isinstance(value, dict):
        return {key: without_later_keys(item) for key, item in value.items() if key not in ('children', 'compressed')}
    return value


def create(name, size=None, format='qcow2', options=None, backing=None):
    args = ['qemu-img', 'create', '-q', '-f', format]
    if options:
        args += ['-o', options]
    if backing:
        args += ['-b', backing[0], '-F', backing[1]]
    args.append(name)
    if size is not None:
        args.append(size)
    good(*args)
    return name


def equal(one, other, what=''):
    assert one == other, '%s\n  one:   %r\n  other: %r' % (what, one, other)


def assert_fails(result, *words, status=1):
    """Exit status @status, one message on stderr that contains all @words, nothing else."""
    equal(result.status, status, str(result))
    assert result.err.startswith(('imago: ', 'qemu-img: ', 'qemu-io: ')), result
    assert 'CRITICAL' not in result.err and 'WARNING' not in result.err, result
    for word in words:
        assert word in result.err, 'no %r in %s' % (word, result)


def same_content(one, other):
    """Compares two files, without reading what both keep as holes."""
    equal(os.path.getsize(one), os.path.getsize(other), 'sizes of %s and %s' % (one, other))
    size = os.path.getsize(one)
    with open(one, 'rb') as a, open(other, 'rb') as b:
        offset = 0
        while offset < size:
            offset = min(_next_data(a, offset, size), _next_data(b, offset, size))
            length = min(1 << 20, size - offset)
            x = os.pread(a.fileno(), length, offset)
            y = os.pread(b.fileno(), length, offset)
            if x != y:
                at = next(i for i in range(len(x)) if x[i] != y[i])
                raise AssertionError('%s and %s differ at %d' % (one, other, offset + at))
            offset += length


def _next_data(file, offset, size):
    try:
        return os.lseek(file.fileno(), offset, os.SEEK_DATA)
    except OSError:
        return size


def poke(name, offset, data):
    with open(name, 'r+b') as file:
        file.seek(offset)
        file.write(data)


def sanitized():
    """Whether the command carries a sanitizer, which makes times and memory meaningless."""
    with open(IMAGO, 'rb') as file:
        content = file.read()
    return b'__asan_init' in content or b'__tsan_init' in content


def can_strace():
    if shutil.which('strace') is None:
        raise Skip('strace is not installed')
    if run('strace', '-f', '-o', os.devnull, 'true').status != 0:
        raise Skip('strace is not permitted here')
    if sanitized():
        raise Skip('the leak sanitizer does not run under strace')


def always_named(*args):
    """The start of a command line that runs IMAGO *args where files always have names: strace refuses the file without
    one. It counts the calls of each thread, here only those in this folder. Runs it once, and removes nothing."""
    log = os.path.join(os.path.dirname(os.getcwd()), 'strace-%d' % os.getpid())
    command = ['strace', '-f', '-qq', '-P', os.getcwd(), '-e', 'trace=openat,linkat,renameat,renameat2,unlinkat', '-o']
    good(*command, log, IMAGO, *args)
    with open(log) as file:
        calls = [line.split(None, 1) for line in file if 'openat(' in line]
    os.unlink(log)
    index = next(i for i, (_, call) in enumerate(calls) if 'O_TMPFILE' in call)
    number = sum(thread == calls[index][0] for thread, _ in calls[:index + 1])
    return [*command, os.devnull, '-e', 'inject=openat:error=EOPNOTSUPP:when=%d' % number]
