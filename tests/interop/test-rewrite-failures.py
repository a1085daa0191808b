# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago compact --rewrite when calls of the system fail, or when it is killed at any of them: what has the name is the old
image or the new one, and both are whole."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess

from imagotest import IMAGO, Skip, assert_fails, can_strace, create, diagnose, equal, good, main, qemu_io, run, test

FAULTS = {
    'openat': 'EIO',
    'fchown': 'EPERM',
    'fchmod': 'EPERM',
    'flistxattr': 'EIO',
    'fgetxattr': 'EIO',
    'fsetxattr': 'ENOSPC',
    'ftruncate': 'EIO',
    'pwrite64': 'ENOSPC',
    'fsync': 'EIO',
    'linkat': 'ENOSPC',
    'renameat': 'EBUSY',
}
REWRITE = ['compact', '-q', '--rewrite', '-f', 'qcow2', 'image']
KILLS = ['pwrite64', 'fsync', 'linkat', 'renameat']


def outside(name):
    """A file that is not in the folder of the image."""
    return os.path.join(os.path.dirname(os.getcwd()), '%s-%d' % (name, os.getpid()))


def make_image():
    """What the image is before each run, kept outside."""
    create('image', '8M', options='cluster_size=16k')
    qemu_io('image', ['write -P 1 0 1M', 'write -P 0 1M 1M', 'write -P 2 5M 200k'])
    shutil.move('image', outside('old'))


def content(name):
    with open(name, 'rb') as file:
        return file.read()


def put_old():
    """Returns whether the file system lets it have an attribute."""
    shutil.copyfile(outside('old'), 'image')
    with contextlib.suppress(OSError):
        os.setxattr('image', 'user.imago', b'kept')
    return 'user.imago' in os.listxattr('image')


def is_old():
    return content('image') == content(outside('old'))


def check_whole():
    good('qemu-img', 'check', '-q', 'image')
    good('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', outside('old'), 'image')


def trace(call, what, n, *args):
    """Runs the command while the nth of these calls, and all that follow, meet with @what, if there are as many. Returns
    the result and whether one did."""
    log = outside('strace')
    result = run('strace', '-f', '-o', log, '-e', 'trace=' + call, '-e', 'inject=%s:%s:when=%d+' % (call, what, n), IMAGO,
                 *args)
    with open(log) as file:
        text = file.read()
    os.unlink(log)
    return result, 'INJECTED' in text or 'killed by SIGKILL' in text


@functools.lru_cache(None)
def startup():
    """What is called by the loader, and by a command that does nothing: of no interest."""
    log = outside('strace')
    good('strace', '-f', '-o', log, '-e', 'trace=' + ','.join(FAULTS), IMAGO, 'compact', '--help')
    with open(log) as file:
        text = file.read()
    os.unlink(log)
    return text


def each(call, what, judge):
    """Returns for how many of these calls @judge said something but 0."""
    n, count = startup().count(' %s(' % call) + 1, 0
    while True:
        put_old()
        result, was_met = trace(call, what, n, *REWRITE)
        if not was_met:
            equal(result.status, 0, result)
            return count
        count += judge(result) != 0
        os.unlink('image')
        n += 1


@test
def test_faults():
    """a call fails: nothing has changed, and nothing is left; but for the folder's fsync, when the new image is there"""
    can_strace()
    make_image()
    counts, replaced = {}, []
    has_attribute = put_old()
    attributes = os.listxattr('image')
    os.unlink('image')

    def judge(call, result):
        equal((os.listdir('.'), os.listxattr('image')), (['image'], attributes))
        if result.status == 0:
            # Some calls are made otherwise, or again, when they fail.
            assert call not in ('fsync', 'renameat', 'fchown', 'fchmod', 'flistxattr'), result
        elif not is_old():
            assert 'a crash might bring the old one back' in result.err, result
            replaced.append(call)
        if not is_old():
            check_whole()
        return result.status

    for call, error in FAULTS.items():
        counts[call] = each(call, 'error=' + error, functools.partial(judge, call))
    diagnose('calls that failed: %s' % counts)
    equal(replaced, ['fsync'])
    for call, count in {'pwrite64': 4, 'fsync': 2, 'linkat': 1, 'renameat': 1, 'fchown': 1, 'fchmod': 1,
                        'flistxattr': 2, 'fgetxattr': has_attribute, 'fsetxattr': has_attribute}.items():
        assert counts[call] >= count, (call, counts)
    os.unlink(outside('old'))


@test
def test_kills():
    """kill -9 at any call leaves one of the two, and the next run leaves nothing else"""
    can_strace()
    make_image()
    seen = {True: 0, False: 0}

    def judge(_result):
        seen[is_old()] += 1
        if not is_old():
            check_whole()
        strangers = [name for name in os.listdir('.') if name != 'image']
        assert len(strangers) <= 1 and all(name.startswith('.imago-image.') for name in strangers), strangers
        if strangers:
            good(IMAGO, *REWRITE)
            check_whole()
            equal(os.listdir('.'), ['image'])

    counts = {call: each(call, 'signal=KILL', judge) for call in KILLS}
    diagnose('killed at: %s; old: %d, new: %d' % (counts, seen[True], seen[False]))
    assert seen[True] >= 6 and seen[False] >= 1, seen
    os.unlink(outside('old'))


@test
def test_locked_meanwhile():
    """until the new file has its name nobody can open the image to write to it, and others can do so then"""
    can_strace()
    make_image()
    shutil.move(outside('old'), 'image')
    process = subprocess.Popen(['strace', '-f', '-o', os.devnull, '-e', 'trace=linkat', '-e', 'inject=linkat:signal=STOP:when=1',
                                IMAGO, *REWRITE], stdout=subprocess.PIPE)
    # The last thing before the rename; there it stops.
    while len(os.listdir('.')) == 1:
        equal(process.poll(), None)
    assert 'lock' in run('qemu-io', '-c', 'write 0 64k', 'image').err
    assert_fails(run(IMAGO, *REWRITE), 'in use')
    assert_fails(run(IMAGO, 'io', '-f', 'qcow2', '-c', 'write 0 64k', 'image'))
    resume(process)
    equal(process.wait(), 0)
    process.stdout.close()
    equal(os.listdir('.'), ['image'])
    qemu_io('image', ['read -P 1 0 1M', 'write -P 7 1M 1M', 'read -P 2 5M 200k'])
    good('qemu-img', 'check', '-q', 'image')


def children(pid):
    try:
        with open('/proc/%d/task/%d/children' % (pid, pid)) as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def resume(process):
    """What strace stopped goes on, to its end."""
    while process.poll() is None:
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)


@test
def test_long_names():
    """a run for a file whose name begins alike does not take the other's temporary file for a stale one"""
    can_strace()
    mine, other = 'x' * 210 + 'a', 'x' * 210 + 'b'
    for name in mine, other:
        create(name, '4M')
    process = subprocess.Popen(['strace', '-f', '-o', os.devnull, '-e', 'trace=linkat', '-e', 'inject=linkat:signal=STOP:when=1',
                                IMAGO, 'compact', '-q', '--rewrite', '-f', 'qcow2', mine])
    while len(os.listdir('.')) == 2:
        equal(process.poll(), None)
    good(IMAGO, 'compact', '-q', '--rewrite', '-f', 'qcow2', other)
    resume(process)
    equal(process.wait(), 0)
    equal(sorted(os.listdir('.')), [mine, other])


@test
def test_file_too_large():
    """a limit on the size of files leaves the old one"""
    make_image()
    shutil.copyfile(outside('old'), 'image')
    result = run('sh', '-c', 'trap "" XFSZ; ulimit -f 300; exec "$@"', 'sh', IMAGO, *REWRITE)
    assert_fails(result, 'File too large')
    equal((is_old(), os.listdir('.')), (True, ['image']))
    os.unlink(outside('old'))


def without_rights():
    """How to run the command as somebody who is not the superuser, and who that is."""
    if os.geteuid() != 0:
        return [IMAGO], os.geteuid()
    command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', IMAGO]
    if shutil.which('setpriv') is None or run(*command, '--version').status != 0:
        raise Skip('only the superuser can run the command here')
    return command, 65534


@test
def test_rights():
    """a folder that takes no new file, and an owner that cannot be given to one"""
    command, user = without_rights()
    make_image()
    shutil.copyfile(outside('old'), 'image')
    os.chmod('image', 0o666)
    os.chmod('.', 0o555)
    assert_fails(run(*command, *REWRITE), 'Permission denied')
    os.chmod('.', 0o755)
    if user != os.geteuid():
        os.chown('.', user, -1)
        assert_fails(run(*command, *REWRITE), 'Cannot give the owner', 'Operation not permitted')
    equal((is_old(), os.listdir('.')), (True, ['image']))
    os.chown('image', user, user if os.geteuid() == 0 else -1)
    good(*command, *REWRITE)
    check_whole()
    os.unlink(outside('old'))


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
