# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago convert to standard output: what QEMU makes of it, who reads it, and who does not."""

import functools
import os
import pty
import random
import signal
import subprocess

from imagotest import IMAGO, Skip, add_test, equal, good, main, run, sanitized, test

MIB = 1 << 20
SIZE = 6 * MIB + 1536


def make_disk():
    rng = random.Random(5)
    content = bytearray(SIZE)
    for _ in range(40):
        length = rng.randrange(1, 300) * 512
        offset = rng.randrange(0, SIZE - length)
        content[offset:offset + length] = rng.choice([rng.randbytes(length), b'bottles of beer\n' * (length // 16)])
    content[-1] = 9
    return bytes(content)


def save(name, content):
    with open(name, 'wb') as file:
        file.write(content)


def pour(*args, content=None):
    """What the command writes into a pipe."""
    done = subprocess.run([IMAGO, 'convert', *args], input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    return done.stdout


def refused(*args, text, content=b''):
    done = subprocess.run([IMAGO, 'convert', *args], input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    equal((done.returncode, done.stdout), (1, b''))
    assert text in done.stderr.decode(), done.stderr
    equal('-' in os.listdir(), False)


def check(name, disk='disk'):
    good('qemu-img', 'check', '-q', name)
    good('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', disk, name)


@test
def test_raw():
    """a raw disk, from a file, a pipe and a qcow2 image"""
    disk = make_disk()
    save('disk', disk)
    good('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', 'disk', 'disk.qcow2')
    equal(pour('-f', 'raw', 'disk', '-'), disk)
    equal(pour('-O', 'raw', '-S', '0', 'disk.qcow2', '-'), disk)
    equal(pour('-f', 'raw', '-', '-', content=disk), disk)
    equal(pour('-f', 'raw', '--offset', '1M', '--length', '2M', 'disk', '-'), disk[MIB:3 * MIB])
    equal(pour('--length', '512', '-', '-', content=disk[:512]), disk[:512])
    equal(pour('-f', 'raw', 'disk', 'disk', '-'), disk + disk)


def check_kinds(*compress):
    save('disk', make_disk())
    for options in ([], ['-o', 'cluster_size=512'], ['-o', 'cluster_size=2M'], ['-o', 'compat=0.10'], ['-S', '0'],
                    ['-o', 'refcount_bits=1'], ['-o', 'extended_l2=on,lazy_refcounts=on']):
        if compress[1:] and options[-1:] == ['compat=0.10']:
            continue
        save('new', pour('-f', 'raw', '-O', 'qcow2', *options, *compress, 'disk', '-'))
        check('new')


for title, arguments in [('plain', []), ('zlib', ['-c']), ('zstd', ['-c', '-o', 'compression_type=zstd'])]:
    add_test('QEMU reads every kind of qcow2 image that comes out of a pipe: ' + title,
             functools.partial(check_kinds, *arguments))


@test
def test_packing():
    """compressed clusters share host clusters, as many as the refcounts can count"""
    save('disk', b''.join(bytes([i % 251 + 1]) * 4096 for i in range(2000)))
    for bits in 1, 2, 4, 8, 16:
        save('new', pour('-f', 'raw', '-O', 'qcow2', '-c', '-o', f'cluster_size=4k,refcount_bits={bits}', 'disk', '-'))
        check('new')
    equal(os.path.getsize('new') < 200 * 1024, True)


def check_threads(*options):
    save('disk', make_disk())
    first = pour('-f', 'raw', '-O', 'qcow2', *options, '-m', '1', 'disk', '-')
    for n in '2', '3', '16':
        equal(pour('-f', 'raw', '-O', 'qcow2', *options, '-m', n, 'disk', '-') == first, True)
    with open('file', 'wb') as file:
        good_to(file, '-f', 'raw', '-O', 'qcow2', *options, 'disk', '-')
    with open('file', 'rb') as file:
        equal(file.read() == first, True)


for title, arguments in [('plain', []), ('zlib', ['-c']),
                         ('zstd', ['-c', '-o', 'compression_type=zstd,cluster_size=512'])]:
    add_test('the bytes do not depend on the number of threads, nor on where they go: ' + title,
             functools.partial(check_threads, *arguments))


def good_to(file, *args):
    equal(subprocess.run([IMAGO, 'convert', *args], stdout=file, timeout=60, check=False).returncode, 0)


@test
def test_file():
    """a file that is appended to, or holds something, gets every byte, the zeroes too"""
    save('disk', bytes(MIB) + b'x' * 512)
    for mode in 'ab', 'r+b':
        save('old', b'y' * 3 * MIB)
        with open('old', mode) as file:
            if mode == 'r+b':
                file.seek(512)
            good_to(file, '-f', 'raw', 'disk', '-')
        with open('old', 'rb') as file:
            content = file.read()
        at = 512 if mode == 'r+b' else 3 * MIB
        equal(content[:at] == b'y' * at and content[at:at + MIB + 512] == bytes(MIB) + b'x' * 512, True)


@test
def test_backing():
    """what the top layer owns goes out, the name of the file below as it is given"""
    good('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '8M')
    good('qemu-io', '-c', 'write -P 5 0 4M', 'base')
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', '-b', 'base', '-F', 'qcow2', 'top')
    good('qemu-io', '-c', 'write -P 6 100k 1M', '-c', 'write -z 2M 1M', '-c', 'write -z 3076k 4k', '-c', 'write -P 7 5M 70k', 'top')
    for options in [], ['-c'], ['-o', 'compat=0.10'], ['-o', 'cluster_size=2M'], ['-o', 'extended_l2=on'], ['-S', '0']:
        save('new', pour('-O', 'qcow2', *options, '-B', 'base', '-F', 'qcow2', '-f', 'qcow2', 'top', '-'))
        good('qemu-img', 'check', '-q', 'new')
        good('qemu-img', 'compare', '-q', 'top', 'new')
        info = good('qemu-img', 'info', '--output=json', 'new').json()
        equal((info['backing-filename'], info['backing-filename-format']), ('base', 'qcow2'))
    save('new', pour('-O', 'qcow2', '-B', 'base', '-F', 'qcow2', '-f', 'qcow2', 'top', '-'))
    equal(os.path.getsize('new') < 2 * MIB, True)
    refused('-O', 'qcow2', '-B', 'base', '-f', 'qcow2', 'top', '-', text='backing format')


@test
def test_large():
    """1 TiB with a little data takes neither memory nor room"""
    with open('disk', 'wb') as file:
        file.truncate(1 << 40)
        file.seek(700 << 30)
        file.write(b'x' * 1000)
    limit = '' if sanitized() else 'ulimit -d 131072; '
    for options in '', '-c':
        good('sh', '-c', f'{limit}exec {IMAGO} convert -m 2 -f raw -O qcow2 {options} disk - > new')
        equal(os.path.getsize('new') < MIB, True)
        good('qemu-img', 'check', '-q', 'new')
        equal(good('qemu-img', 'info', '--output=json', 'new').json()['virtual-size'], 1 << 40)


@test
def test_reader_leaves():
    """a reader that has had enough is an error, no signal"""
    with open('disk', 'wb') as file:
        file.truncate(64 * MIB)
    good('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-S', '0', 'disk', 'full')
    for args in (['-f', 'raw', 'disk', '-'], ['-f', 'raw', '-O', 'qcow2', '-S', '0', 'disk', '-'], ['full', '-'], ['-f', 'raw', '-', '-']):
        with subprocess.Popen([IMAGO, 'convert', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.PIPE) as process:
            if args[-2] == '-':
                process.stdin.write(bytes(MIB))
                process.stdin.flush()
            equal(len(process.stdout.read(1000)), 1000)
            process.stdout.close()
            if args[-2] == '-':
                try:
                    process.stdin.write(bytes(64 * MIB))
                except BrokenPipeError:
                    pass
            equal(process.wait(30), 1)
            assert b'pipe' in process.stderr.read().lower()
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass


@test
def test_full_device():
    """a device without room is told"""
    if not os.path.exists('/dev/full'):
        raise Skip('there is no /dev/full')
    save('disk', make_disk())
    for format in 'raw', 'qcow2':
        with open('/dev/full', 'wb') as file:
            done = subprocess.run([IMAGO, 'convert', '-f', 'raw', '-O', format, 'disk', '-'], stdout=file, stderr=subprocess.PIPE, timeout=60,
                                  check=False)
        equal(done.returncode, 1)
        assert b'No space' in done.stderr, done.stderr


@test
def test_closed():
    """standard output that is closed is told"""
    save('disk', bytes(MIB))
    equal(run('sh', '-c', f'exec {IMAGO} convert -f raw disk - >&-').status, 1)


@test
def test_nobody_reads():
    """a signal ends the wait for a reader"""
    with open('disk', 'wb') as file:
        file.truncate(64 * MIB)
    for options in ['-O', 'raw'], ['-O', 'qcow2', '-S', '0']:
        with subprocess.Popen([IMAGO, 'convert', '-f', 'raw', *options, 'disk', '-'], stdout=subprocess.PIPE) as process:
            # Until it writes: then it waits for room.
            equal(len(process.stdout.read(1)), 1)
            process.send_signal(signal.SIGTERM)
            equal(process.wait(30), -signal.SIGTERM)


@test
def test_terminal():
    """nothing is written to a terminal"""
    save('disk', bytes(512))
    ours, theirs = pty.openpty()
    for args in ['-f', 'raw', 'disk', '-'], ['-', '-']:
        done = subprocess.run([IMAGO, 'convert', *args], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False)
        equal(done.returncode, 1)
        assert b'terminal' in done.stderr, done.stderr
    os.close(theirs)
    os.close(ours)


@test
def test_progress():
    """progress goes where it does not end up in the image"""
    disk = make_disk()
    save('disk', disk)
    for args in ['-O', 'raw'], ['-O', 'qcow2']:
        done = subprocess.run([IMAGO, 'convert', '-p', '-f', 'raw', *args, 'disk', '-'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=True)
        assert done.stderr.startswith(b'    (0.00/100%)\r') and done.stderr.endswith(b'(100.00/100%)\r\n'), done.stderr
        if 'raw' in args:
            equal(done.stdout == disk, True)
        else:
            save('new', done.stdout)
            check('new')


@test
def test_plan():
    """a plan is told, not written as an image, even to a terminal"""
    save('disk', make_disk())
    ours, theirs = pty.openpty()
    done = subprocess.run([IMAGO, 'convert', '--dry-run', '-f', 'raw', '-O', 'qcow2', 'disk', '-'], stdout=theirs, timeout=60, check=False)
    equal(done.returncode, 0)
    assert b'size' in os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)


@test
def test_refused():
    """what a pipe cannot do is said, and no file is called \"-\""""
    save('disk', make_disk()[:MIB])
    good('qemu-img', 'create', '-q', '-f', 'qcow2', 'image', '1M')
    refused('-f', 'raw', '-O', 'qcow2', '-', '-', content=b'x' * 512, text='read twice')
    refused('-f', 'raw', '-n', 'disk', '-', text='-n')
    refused('-f', 'raw', '--verify', 'disk', '-', text='verify')
    refused('-f', 'raw', '-c', 'disk', '-', text='Compression')
    refused('-f', 'raw', '-O', 'qcow2', '-o', 'preallocation=metadata', 'disk', '-', text='reserved')
    refused('-f', 'raw', '-O', 'qcow2', '-o', 'data_file=data', 'disk', '-', text='data file')
    refused('--sha256', '0' * 64, '-', '-', content=b'x' * 512, text='digest')
    refused('-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=1000', 'disk', '-', text='luster')
    good(IMAGO, 'convert', '-f', 'raw', 'disk', './-')
    with open('./-', 'rb') as file, open('disk', 'rb') as other:
        equal(file.read() == other.read(), True)


@test
def test_damaged_source():
    """a source that cannot be read ends the job though nobody reads the pipe"""
    save('disk', b'x' * 4 * MIB)
    good('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', 'disk', 'image')
    with open('image', 'r+b') as file:
        file.seek(-300, os.SEEK_END)
        file.write(b'\xff' * 300)
    for format in 'raw', 'qcow2':
        with subprocess.Popen([IMAGO, 'convert', '-O', format, 'image', '-'], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            equal(process.wait(30), 1)
            assert b'error while converting' in process.stderr.read()


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
