# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago convert: what it writes, what it prints, and what it leaves behind."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import time

from imagotest import (IMAGO, Skip, assert_fails, can_strace, create, diagnose, equal, good, imago, main, qemu_io, run,
                       same_content, test)

CLUSTER = 65536


def make_image(name='a.qcow2', size='4M'):
    create(name, size)
    qemu_io(name, ['write -P 1 64k 64k', 'write -z 256k 64k', 'write -c -P 3 512k 64k', 'write -P 9 3M 100k'])
    return name


def make_long_image(name, size=64 << 30):
    """A small file with a disk that takes long to copy: every cluster is the same compressed one."""
    create(name, size)
    with open('noise', 'wb') as file:
        file.write(bytes(range(1, 256)) * 256)
    qemu_io(name, ['write -c -s noise 0 64k'])
    os.unlink('noise')
    with open(name, 'r+b') as file:
        file.seek(36)
        l1_size, l1_offset = struct.unpack('>IQ', file.read(12))
        file.seek(l1_offset)
        table = file.read(8)
        file.seek(l1_offset)
        file.write(table * l1_size)
        l2_offset = struct.unpack('>Q', table)[0] & 0x00fffffffffffe00
        file.seek(l2_offset)
        entry = file.read(8)
        file.seek(l2_offset)
        file.write(entry * (CLUSTER // 8))


@test
def test_equal():
    """the result is what qemu-img writes"""
    make_image()
    for options in [(), ('-f', 'qcow2'), ('-O', 'raw'), ('-pq',), ('-qO', 'raw'), ('-Oraw', '-W', '-m', '3'), ('-U',),
                    ('-t', 'none', '-T', 'none'), ('-t', 'unsafe'), ('-t', 'directsync'), ('-S', '64k'),
                    ('-o', 'preallocation=off'), ('--target-format=raw',)]:
        result = good(IMAGO, 'convert', *options, 'a.qcow2', 'mine')
        equal((result.out, result.err), ('', ''))
        good('qemu-img', 'convert', '-O', 'raw', 'a.qcow2', 'theirs')
        same_content('mine', 'theirs')
        assert os.stat('mine').st_blocks <= os.stat('theirs').st_blocks, 'holes were filled'
        os.unlink('mine')
    equal(sorted(os.listdir()), ['a.qcow2', 'theirs'])


@test
def test_kernel_copies():
    """-C: the kernel copies data, holes stay holes"""
    make_image()
    good('qemu-img', 'convert', '-O', 'raw', 'a.qcow2', 'a.raw')
    for source in 'a.qcow2', 'a.raw':
        good(IMAGO, 'convert', '-C', source, 'mine')
        good('qemu-img', 'convert', '-C', '-O', 'raw', source, 'theirs')
        same_content('mine', 'theirs')
        assert os.stat('mine').st_blocks <= os.stat('theirs').st_blocks, 'holes were filled'


@test
def test_empty():
    """an image without data, and one without a byte"""
    create('a.qcow2', '1G')
    good(IMAGO, 'convert', 'a.qcow2', 'mine')
    equal((os.path.getsize('mine'), os.stat('mine').st_blocks), (1 << 30, 0))
    create('b.qcow2', 0)
    good(IMAGO, 'convert', 'b.qcow2', 'mine')
    equal(os.path.getsize('mine'), 0)


@test
def test_snapshot():
    """-l takes an id, a name, or both"""
    create('s.qcow2', '1M')
    for i, name in enumerate(['one', '3', 'two words']):
        qemu_io('s.qcow2', ['write -P %d 0 64k' % (i + 1)])
        good('qemu-img', 'snapshot', '-c', name, 's.qcow2')
    qemu_io('s.qcow2', ['write -P 99 0 64k'])
    for spec in ['1', 'one', '2', '3', 'two words', 'snapshot.id=2', 'snapshot.name=3', 'snapshot.id=1,snapshot.name=one',
                 'snapshot.name=two words']:
        good(IMAGO, 'convert', '-l', spec, 's.qcow2', 'mine')
        good('qemu-img', 'convert', '-O', 'raw', '-l', spec, 's.qcow2', 'theirs')
        same_content('mine', 'theirs')
    os.unlink('mine')
    for spec in ['4', 'nosnap', 'snapshot.id=2,snapshot.name=one', 'snapshot.bogus=1', '']:
        equal(run('qemu-img', 'convert', '-O', 'raw', '-l', spec, 's.qcow2', 'theirs').status, 1)
        assert_fails(imago('convert', '-l', spec, 's.qcow2', 'mine'), 'snapshot')
        assert not os.path.exists('mine')


@test
def test_overwrite():
    """an existing file is replaced, its mode kept, and left alone by a failure"""
    make_image()
    with open('mine', 'w') as file:
        file.write('old')
    os.chmod('mine', 0o640)
    good(IMAGO, 'convert', 'a.qcow2', 'mine')
    good('qemu-img', 'convert', '-O', 'raw', 'a.qcow2', 'theirs')
    same_content('mine', 'theirs')
    equal(os.stat('mine').st_mode & 0o777, 0o640)

    with open('mine', 'w') as file:
        file.write('old')
    with open('a.qcow2', 'r+b') as file:
        file.seek(40)
        file.write(b'\xff' * 8)
    assert_fails(imago('convert', 'a.qcow2', 'mine'), 'a.qcow2')
    equal(open('mine').read(), 'old')
    equal(sorted(os.listdir()), ['a.qcow2', 'mine', 'theirs'])


@test
def test_overwrite_through_symlink():
    """a target that is a symbolic link stays one"""
    make_image()
    os.mkdir('sub')
    with open('sub/real', 'w') as file:
        file.write('old')
    os.symlink('sub/real', 'link')
    good(IMAGO, 'convert', 'a.qcow2', 'link')
    assert os.path.islink('link')
    equal(os.path.getsize('sub/real'), 4 << 20)
    equal(os.listdir('sub'), ['real'])


@test
def test_new_file_mode():
    """a new file follows the umask"""
    make_image()
    before = os.umask(0o027)
    try:
        good(IMAGO, 'convert', 'a.qcow2', 'mine')
    finally:
        os.umask(before)
    equal(os.stat('mine').st_mode & 0o777, 0o640)


@test
def test_source_as_target():
    """no file of the source can be the target"""
    create('base.raw', '1M', 'raw')
    create('mid.qcow2', backing=('base.raw', 'raw'))
    create('top.qcow2', backing=('mid.qcow2', 'qcow2'))
    create('d.qcow2', '1M', options='data_file=d.raw')
    os.link('base.raw', 'hard.raw')
    os.symlink('mid.qcow2', 'soft')
    sums = good('sha256sum', *sorted(os.listdir())).out
    for source, targets in [('top.qcow2', ['top.qcow2', 'mid.qcow2', 'base.raw', 'hard.raw', 'soft', './mid.qcow2']),
                            ('d.qcow2', ['d.qcow2', 'd.raw'])]:
        for target in targets:
            assert_fails(imago('convert', source, target), target)
            # Without locks, too, and when only a part of it would be in the new image.
            assert_fails(imago('convert', '-U', source, target), target)
            for length in [], ['--length', '64k']:
                assert_fails(imago('convert', '-U', *length, '-O', 'qcow2', '-o', 'data_file=' + target, source, 'new'),
                             'new')
    assert_fails(imago('convert', '-U', '-n', '--length', '64k', '-f', 'raw', '-O', 'qcow2', 'd.raw', 'd.qcow2'),
                 'to be copied')
    equal(good('sha256sum', *sorted(os.listdir())).out, sums)


@test
def test_bad_target():
    """a target that cannot be made"""
    make_image()
    os.mkdir('folder')
    os.mkfifo('fifo')
    for target, words in [('folder', ['folder']), ('nofolder/x', ['nofolder', 'No such file']), ('fifo', ['fifo']),
                          ('/dev/full', ['/dev/full'])]:
        assert_fails(imago('convert', 'a.qcow2', target), *words)
    equal(sorted(os.listdir()), ['a.qcow2', 'fifo', 'folder'])
    equal(os.listdir('folder'), [])


# ---- progress ----

PERCENT = re.compile(r'    \((\d+\.\d\d)/100%\)\r')


@test
def test_progress():
    """-p prints what qemu-img prints to a pipe"""
    make_image()
    for command in [(IMAGO, 'convert', '-p'), ('qemu-img', 'convert', '-O', 'raw', '-p')]:
        out = good(*command, 'a.qcow2', 'out').out
        percents = [float(percent) for percent in PERCENT.findall(out)]
        equal(PERCENT.sub('', out), '\n')
        equal((percents[0], percents[-1]), (0, 100))
        equal(percents, sorted(percents))


@test
def test_progress_terminal():
    """-p draws a bar on a terminal"""
    make_image()
    master, slave = pty.openpty()
    process = subprocess.Popen([IMAGO, 'convert', '-p', 'a.qcow2', 'out'], stdout=slave, stderr=slave)
    os.close(slave)
    text = b''
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        text += data
    os.close(master)
    equal(process.wait(), 0)
    assert b'[##############################] 100.00%' in text and b'iB/s' in text, text
    assert text.endswith(b'\r\n'), text


# ---- interruption ----

def start(*options, target='out'):
    """Starts a long copy and waits until it has begun to write. Without a limit it would fill the page cache, and its end wait for the disk."""
    process = subprocess.Popen([IMAGO, 'convert', '-p', '-r', '512M', *options, 'long.qcow2', target], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    seen = b''
    deadline = time.monotonic() + 30
    while seen.count(b'\r') < 2:
        assert time.monotonic() < deadline, seen
        select.select([process.stdout], [], [], 1)
        data = os.read(process.stdout.fileno(), 4096)
        assert data, (seen, process.stderr.read())
        seen += data
    return process


def end(process, number):
    begin = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    diagnose('ended after %.0f ms' % ((time.monotonic() - begin) * 1000))
    return process.returncode, out, err


@test
def test_interrupt():
    """SIGINT, SIGTERM and SIGHUP leave nothing and end the command as signals do"""
    make_long_image('long.qcow2')
    for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
        status, out, err = end(start('-t', 'unsafe'), number)
        equal((status, err), (-number, b''))
        assert out.endswith(b'\n'), out
        equal(os.listdir(), ['long.qcow2'])


@test
def test_kill():
    """kill -9 leaves nothing"""
    make_long_image('long.qcow2')
    status, _, _ = end(start('-t', 'unsafe'), signal.SIGKILL)
    equal(status, -signal.SIGKILL)
    equal(os.listdir(), ['long.qcow2'])


@test
def test_interrupt_overwrite():
    """an interrupted or killed copy leaves the file it would have replaced"""
    make_long_image('long.qcow2')
    with open('out', 'w') as file:
        file.write('old')
    for number in [signal.SIGINT, signal.SIGKILL]:
        end(start('-t', 'unsafe'), number)
        equal(sorted(os.listdir()), ['long.qcow2', 'out'])
        equal(open('out').read(), 'old')


@test
def test_status_signal():
    """SIGUSR1 prints the progress and disturbs nothing"""
    make_long_image('long.qcow2')
    process = start('-t', 'unsafe')
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.05)
    assert process.poll() is None
    end(process, signal.SIGINT)


@test
def test_ignored_signals():
    """a signal that the parent ignores, as nohup does, does not end the command"""
    make_long_image('long.qcow2', 512 << 20)
    for number in [signal.SIGHUP, signal.SIGINT]:
        before = signal.signal(number, signal.SIG_IGN)
        try:
            process = start()
        finally:
            signal.signal(number, before)
        code, _out, err = end(process, number)
        equal((code, err), (0, b''))
        equal(os.stat('out').st_size, 512 << 20)
        os.unlink('out')


# ---- durability ----

def count_syncs(*options):
    run('strace', '-f', '-qq', '-e', 'trace=fsync,fdatasync,sync,syncfs,sync_file_range', '-o', 'trace', IMAGO, 'convert',
        *options, 'a.qcow2', 'mine')
    return sum('sync' in line for line in open('trace'))


@test
def test_durable():
    """the result is durable by default and not waited for with -t unsafe"""
    can_strace()
    make_image()
    # The file and its folder.
    assert count_syncs() >= 2, open('trace').read()
    os.unlink('mine')
    equal(count_syncs('-t', 'unsafe'), 0, 'calls with -t unsafe')
    assert count_syncs('-t', 'writeback') >= 2, open('trace').read()


@test
def test_atomic():
    """nothing has the name of the target before it is complete"""
    can_strace()
    make_image()
    good('strace', '-f', '-qq', '-e', 'trace=openat,open,creat,link,linkat,rename,renameat,renameat2,pwrite64,pwritev2,pwritev',
         '-o', 'trace', IMAGO, 'convert', 'a.qcow2', 'mine')
    calls = open('trace').read()
    if 'O_TMPFILE' not in calls or 'EOPNOTSUPP' in calls:
        raise Skip('the file system has no unnamed files')
    lines = calls.splitlines()
    named = [i for i, line in enumerate(lines) if '"mine"' in line or '/mine"' in line]
    written = [i for i, line in enumerate(lines) if 'pwrite' in line]
    assert named and written and 'linkat' in lines[named[-1]] and named[-1] > written[-1], calls
    assert not any('O_CREAT' in lines[i] for i in named), calls


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
