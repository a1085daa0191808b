# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago dd and imago bench: what they write, and what they leave when they fail."""

import os
import re
import signal
import subprocess
import time

from imagotest import (IMAGO, Skip, add_test, always_named, assert_fails, can_strace, create, equal, good, imago, main,
                       poke, qemu_img, qemu_io, run, same_content, test)


def make_source():
    create('a.qcow2', '3M')
    qemu_io('a.qcow2', ['write -P 1 0 64k', 'write -P 2 1M 300k', 'write -z 2M 64k', 'write -c -P 3 2560k 64k'])


def check_content(name, options, operands, output_format):
    def check():
        make_source()
        operation = [*options, 'if=a.qcow2', *operands]
        good(IMAGO, 'dd', *operation, 'of=mine')
        good('qemu-img', 'dd', *operation, 'of=theirs')
        good('qemu-img', 'compare', '-f', output_format, '-F', output_format, 'mine', 'theirs')
        mine = good('qemu-img', 'info', '-f', output_format, '--output=json', 'mine').json()
        theirs = good('qemu-img', 'info', '-f', output_format, '--output=json', 'theirs').json()
        equal((mine['format'], mine['virtual-size']), (theirs['format'], theirs['virtual-size']))
        if output_format == 'raw':
            same_content('mine', 'theirs')
        else:
            good('qemu-img', 'check', 'mine')
        equal(sorted(os.listdir('.')), ['a.qcow2', 'mine', 'theirs'])
    add_test('dd %s to %s' % (name, output_format), check)


RANGES = [('everything', []), ('with large blocks', ['bs=1M']), ('some blocks', ['bs=64k', 'count=20', 'skip=1']),
          ('odd blocks', ['bs=700', 'count=1500', 'skip=3']), ('nothing', ['count=0']),
          ('more than there is', ['bs=1M', 'count=100', 'skip=2']), ('beyond the end', ['bs=1M', 'skip=4'])]
for name, operands in RANGES:
    for output_format in ['raw', 'qcow2']:
        check_content(name, ['-O', output_format], operands, output_format)
check_content('of a forced format', ['-f', 'raw', '-O', 'raw'], ['bs=64k'], 'raw')
check_content('of a shared image', ['-U'], [], 'raw')


@test
def test_damaged_source():
    """dd from a damaged image leaves what was there"""
    make_source()
    with open('a.qcow2', 'rb') as file:
        table = int.from_bytes(file.read(48)[40:48], 'big')
        file.seek(table)
        second = int.from_bytes(file.read(8), 'big') & ((1 << 56) - 512)
    poke('a.qcow2', second + 16 * 8, ((1 << 63) | 0x1200).to_bytes(8, 'big'))
    with open('out', 'w') as file:
        file.write('precious')
    assert_fails(imago('dd', 'if=a.qcow2', 'of=out'))
    equal(open('out').read(), 'precious')
    assert_fails(imago('dd', 'if=a.qcow2', 'of=new'))
    equal(sorted(os.listdir('.')), ['a.qcow2', 'out'])


@test
def test_open_target():
    """dd does not replace an image that somebody has open"""
    make_source()
    create('out', '1M')
    holder = subprocess.Popen(['qemu-io', 'out'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.read(1)
    before = os.stat('out').st_ino
    assert_fails(imago('dd', 'if=a.qcow2', 'of=out'), 'out')
    equal(os.stat('out').st_ino, before)
    holder.communicate(b'quit\n')
    good(IMAGO, 'dd', 'if=a.qcow2', 'of=out')
    equal(sorted(os.listdir('.')), ['a.qcow2', 'out'])


@test
def test_link():
    """dd replaces what a link points to, not the link"""
    make_source()
    os.mkdir('sub')
    open('sub/out', 'w').close()
    os.symlink('sub/out', 'link')
    good(IMAGO, 'dd', 'if=a.qcow2', 'of=link')
    assert os.path.islink('link')
    equal(os.path.getsize('sub/out'), 3 << 20)
    equal(os.listdir('sub'), ['out'])
    os.unlink('sub/out')
    good(IMAGO, 'dd', 'if=a.qcow2', 'of=link')
    assert os.path.islink('link')
    equal(os.path.getsize('sub/out'), 3 << 20)
    os.symlink('loop', 'loop')
    assert_fails(imago('dd', 'if=a.qcow2', 'of=loop'), 'symbolic links')
    assert os.path.islink('loop')


@test
def test_permissions():
    """dd keeps the permissions of what it replaces"""
    make_source()
    open('out', 'w').close()
    os.chmod('out', 0o640)
    good(IMAGO, 'dd', '-O', 'qcow2', 'if=a.qcow2', 'of=out')
    equal(os.stat('out').st_mode & 0o7777, 0o640)
    good('qemu-img', 'compare', 'a.qcow2', 'out')


@test
def test_itself():
    """dd onto what is read is refused, and loses nothing"""
    with open('a.raw', 'wb') as file:
        file.write(os.urandom(100 * 512))
    good('cp', 'a.raw', 'b.raw')
    create('top', '1M', backing=('a.raw', 'raw'))
    for share in [], ['-U']:
        for source in ['-f', 'raw', 'if=a.raw'], ['-f', 'qcow2', 'if=top']:
            assert_fails(imago('dd', *share, *source, 'of=a.raw'), 'a.raw')
            good('cmp', 'a.raw', 'b.raw')
    equal(sorted(os.listdir('.')), ['a.raw', 'b.raw', 'top'])


@test
def test_attributes():
    """dd keeps the attributes of what it replaces"""
    make_source()
    open('out', 'w').close()
    try:
        os.setxattr('out', 'user.imago', b'kept')
    except OSError:
        raise Skip('the file system has no attributes') from None
    good(IMAGO, 'dd', 'if=a.qcow2', 'of=out')
    equal(os.getxattr('out', 'user.imago'), b'kept')


@test
def test_killed_with_name():
    """dd removes what a killed one left where files always have names"""
    can_strace()
    make_source()
    copy = ['dd', 'if=a.qcow2', 'of=out']
    command = always_named(*copy)
    os.unlink('out')
    equal(run(*command, '-e', 'inject=renameat2:signal=KILL:when=1', IMAGO, *copy).status, -signal.SIGKILL)
    left = [name for name in os.listdir('.') if name not in ('a.qcow2', 'out')]
    assert len(left) == 1 and left[0].startswith('.imago-out.'), os.listdir('.')
    good(IMAGO, *copy)
    equal(sorted(os.listdir('.')), ['a.qcow2', 'out'])


@test
def test_no_folder():
    """dd names the file that cannot be created"""
    make_source()
    assert_fails(imago('dd', 'if=a.qcow2', 'of=none/out'), 'none/out', 'No such file')


def has_nameless_files():
    try:
        os.close(os.open('.', os.O_TMPFILE | os.O_RDWR))
    except OSError:
        return False
    return True


def has_open_target(pid):
    """Whether the copy runs: the new file is there, though it may have no name yet."""
    folder = os.getcwd()
    try:
        names = os.listdir('/proc/%d/fd' % pid)
        targets = [os.readlink('/proc/%d/fd/%s' % (pid, name)) for name in names]
    except OSError:
        return False
    return any(target.startswith(folder) and not target.endswith('big.raw') and target != folder for target in targets)


@test
def test_signal():
    """dd stopped by a signal ends by it and leaves nothing"""
    with open('big.raw', 'wb') as file:
        for _ in range(128):
            file.write(b'x' * (1 << 20))
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if has_nameless_files():
        numbers.append(signal.SIGKILL)
    for number in numbers:
        process = subprocess.Popen([IMAGO, 'dd', '-f', 'raw', 'if=big.raw', 'of=out'])
        while process.poll() is None and not has_open_target(process.pid):
            time.sleep(0.0005)
        process.send_signal(number)
        status = process.wait()
        assert status in (-number, 0), status
        if status != 0:
            equal(os.listdir('.'), ['big.raw'])
        else:
            os.unlink('out')


def pattern_of(name, offset, length, value):
    with open(name, 'rb') as file:
        file.seek(offset)
        equal(file.read(length), bytes([value]) * length)


@test
def test_bench_writes():
    """bench -w writes the pattern where it says, and nowhere else"""
    create('a.raw', '1M', 'raw')
    create('b.raw', '1M', 'raw')
    options = ['-f', 'raw', '-w', '-c', '20', '-d', '3', '-s', '512', '-S', '64k', '-o', '4k', '--pattern=0x11']
    for cache in ['writeback', 'writethrough', 'unsafe', 'none', 'directsync']:
        good(IMAGO, 'bench', *options, '-t', cache, 'a.raw')
    good('qemu-img', 'bench', *options, 'b.raw')
    good('cmp', 'a.raw', 'b.raw')
    pattern_of('a.raw', 4096 + 65536, 512, 0x11)


@test
def test_bench_flushes():
    """bench --flush-interval, drained or not"""
    create('a.qcow2', '1M')
    for more in [[], ['--no-drain']]:
        result = good(IMAGO, 'bench', '-w', '-c', '100', '-d', '4', '--flush-interval=7', *more, 'a.qcow2')
        assert re.search(r'^Sending .*flush every 7 requests$', result.out, re.M), result
    good('qemu-img', 'check', 'a.qcow2')


@test
def test_bench_failure():
    """bench ends at the first request that fails"""
    create('a.raw', '1M', 'raw')
    assert_fails(imago('bench', '-f', 'raw', '-o', '2M', '-c', '5', 'a.raw'), 'Failed request')
    assert_fails(imago('bench', '-f', 'raw', '-d', '0', 'a.raw'), 'queue depth')
    # The sum of what is in flight can be more than there is memory; one request cannot.
    result = run(IMAGO, 'bench', '-f', 'raw', '-s', '2147483648', 'a.raw')
    assert_fails(result, 'buffer size')
    equal(qemu_img('bench', '-f', 'raw', '-s', '2147483648', 'a.raw').err.replace('qemu-img', 'imago'), result.err)


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
