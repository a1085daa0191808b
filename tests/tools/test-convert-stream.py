# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago convert from pipes: wrapped or not, complete or not, and with a digest."""

import hashlib
import gzip
import lzma
import os
import random
import shutil
import signal
import subprocess
import time

from imagotest import COMPRESSIONS, IMAGO, Skip, add_test, equal, good, imago, main, run, test

MIB = 1 << 20
SIZE = 4 * MIB + 300
KNOWN = ['gzip', 'xz', 'zstd']
# Without some of them, if the library was built so.
WRAPPINGS = ['raw'] + [name for name in KNOWN if name in COMPRESSIONS]


def make_disk(size=SIZE):
    rng = random.Random(3)
    content = bytearray(size)
    for _ in range(40):
        length = rng.randrange(1, 300) * 512
        offset = rng.randrange(0, size - length)
        content[offset:offset + length] = rng.choice([rng.randbytes(length), b'bottles of beer\n' * (length // 16)])
    content[-1] = 9
    return bytes(content)


def wrap(content, wrapping):
    if wrapping == 'gzip':
        return gzip.compress(content, 1)
    if wrapping == 'xz':
        return lzma.compress(content, preset=0)
    if wrapping == 'zstd':
        if shutil.which('zstd') is None:
            raise Skip('there is no zstd')
        return subprocess.run(['zstd', '-q', '-1'], input=content, stdout=subprocess.PIPE, check=True).stdout
    return content


def save(name, content):
    with open(name, 'wb') as file:
        file.write(content)


def feed(content, *args):
    """Converts what a pipe gives; the status and what was said."""
    done = subprocess.run([IMAGO, 'convert', '-t', 'unsafe', *args], input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False)
    equal(done.stdout, b'')
    return done.returncode, done.stderr.decode()


def refused(content, *args, text):
    status, said = feed(content, *args, '-', 'new')
    equal(status, 1)
    assert text in said, said
    equal([name for name in os.listdir() if name.startswith(('new', '.'))], [])


@test
def test_wrappings():
    """every wrapping gives the same disk, in every kind of target"""
    disk = make_disk()
    save('disk', disk + bytes(-len(disk) % 512))
    for wrapping in WRAPPINGS:
        content = wrap(disk, wrapping)
        digest = hashlib.sha256(content).hexdigest()
        for format, *options in [['raw'], ['qcow2'], ['qcow2', '-c'], ['qcow2', '-o', 'cluster_size=512'],
                                 ['qcow2', '-c', '-o', 'cluster_size=2M']]:
            status, said = feed(content, '--sha256', digest, '-O', format, *options, '-', 'new')
            equal(status, 0, said)
            assert f'{SIZE} bytes arrived' in said, said
            equal(run('qemu-img', 'compare', '-f', 'raw', '-F', format, 'disk', 'new').status, 0)
            equal(good('qemu-img', 'info', '-f', format, '--output=json', 'new').json()['virtual-size'], SIZE // 512 * 512 + 512)
            if format == 'qcow2':
                good('qemu-img', 'check', '-q', 'new')
            os.unlink('new')


@test
def test_exact_sizes():
    """a disk of whole chunks, one that the first size holds no more, one sector"""
    for size in 512, MIB, 16 * MIB, 17 * MIB, 33 * MIB:
        disk = b'\1' * 512 + bytes(size - 1024) + b'\2' * 512 if size > 512 else b'\1' * 512
        save('disk', disk)
        for options in [], ['-c'], ['--length', str(size)], ['--length', str(size), '-o', 'preallocation=metadata']:
            equal(feed(disk, '-O', 'qcow2', *options, '-', 'new'), (0, ''))
            good('qemu-img', 'check', '-q', 'new')
            good('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', 'disk', 'new')
            equal(good('qemu-img', 'info', '--output=json', 'new').json()['virtual-size'], size)


@test
def test_file():
    """--unwrap reads a file as it would a pipe; without it a file is what it is"""
    disk = make_disk()[:5 * MIB]
    save('disk', disk)
    save('disk.gz', wrap(disk, 'gzip'))
    for option in 'gzip', 'auto':
        good(IMAGO, 'convert', '--unwrap', option, '-O', 'qcow2', 'disk.gz', 'new')
        good('qemu-img', 'compare', '-q', 'disk', 'new')
    equal(imago('convert', '--unwrap', 'xz', 'disk.gz', 'bad').status, 1)
    good(IMAGO, 'convert', '-f', 'raw', 'disk.gz', 'same')
    with open('disk.gz', 'rb') as one, open('same', 'rb') as other:
        wrapped = one.read()
        equal(other.read()[:len(wrapped)], wrapped)


@test
def test_raw_means_raw():
    """-f raw takes the bytes for the disk, whatever they look like"""
    for wrapping in WRAPPINGS:
        content = wrap(b'x' * 5120, wrapping)
        for options in ['-f', 'raw'], ['--unwrap', 'none']:
            equal(feed(content, *options, '-', 'new')[0], 0)
            with open('new', 'rb') as file:
                equal(file.read()[:len(content)], content)
            os.unlink('new')


@test
def test_members():
    """members that follow each other are one disk"""
    one, two = b'1' * 5000, b'2' * 5240
    for wrapping in WRAPPINGS[1:]:
        equal(feed(wrap(one, wrapping) + wrap(two, wrapping), '-', 'new'), (0, ''))
        with open('new', 'rb') as file:
            equal(file.read(), one + two)
    equal(feed(wrap(one + two, 'gzip') + bytes(1000), '-', 'new'), (0, ''))
    os.unlink('new')
    refused(wrap(one, 'gzip') + b'garbage', text='damaged')
    refused(wrap(one, 'gzip') + bytes(100) + b'g', text='damaged')


@test
def test_damage():
    """what is cut off or damaged is an error, and nothing is left"""
    disk = make_disk()[:3 * MIB]
    for wrapping in WRAPPINGS[1:]:
        content = wrap(disk, wrapping)
        for length in len(content) - 1, len(content) - 5, len(content) // 2, 30, 12:
            refused(content[:length], '-O', 'qcow2', text='ends too early')
        bad = bytearray(content)
        bad[len(bad) // 2] ^= 0x55
        bad[-10] ^= 1
        refused(bytes(bad), '-c', '-O', 'qcow2', text=f'The {wrapping} data')
        refused(disk, '--unwrap', wrapping, text='damaged')
        refused(b'', '--unwrap', wrapping, text='ends too early')
    refused(b'', text='empty')
    refused(b'QFI\xfb' + bytes(1000), text='qcow2')


@test
def test_digest():
    """a wrong digest publishes nothing and leaves what was there"""
    disk = make_disk()[:2 * MIB]
    wrong = hashlib.sha256(b'other').hexdigest()
    refused(disk, '--sha256', wrong, text=hashlib.sha256(disk).hexdigest())
    refused(disk, '--sha256', wrong[1:], text='64')
    refused(wrap(disk, 'gzip'), '--sha256', hashlib.sha256(disk).hexdigest(), text='digest')
    equal(feed(disk, '--sha256', hashlib.sha256(disk).hexdigest().upper(), '-', 'old'), (0, ''))
    equal(feed(b'other' * 1000, '--sha256', wrong, '-', 'old')[0], 1)
    with open('old', 'rb') as file:
        equal(file.read(), disk)


@test
def test_length():
    """a length that is given is kept"""
    disk = make_disk()[:3 * MIB + 512]
    for options in ['-O', 'raw'], ['-O', 'qcow2'], ['-O', 'qcow2', '-c']:
        equal(feed(disk, *options, '--length', str(len(disk)), '-', 'good'), (0, ''))
        refused(disk, *options, '--length', str(len(disk) + 512), text='ends after')
        refused(disk, *options, '--length', str(len(disk) - 512), text='more than')
        refused(disk, *options, '--length', '2M', text='more than')
    refused(disk, '-O', 'qcow2', '-o', 'preallocation=falloc', text='length')


@test
def test_options():
    """what a stream cannot do is said"""
    save('base', bytes(MIB))
    for options in (['--salvage'], ['--verify'], ['--offset', '512'], ['-f', 'qcow2'], ['-l', 'x'], ['--dry-run'],
                    ['-O', 'qcow2', '-B', 'base', '-F', 'raw']):
        refused(b'x' * 512, *options, text='tream')
    equal(feed(b'x' * 512, '-n', '-', 'base')[0], 1)
    equal(feed(b'x' * 512, '-', 'base', 'new')[0], 1)
    equal(feed(b'x' * 512, '--unwrap', 'rar', '-', 'new')[0], 1)


@test
def test_bomb():
    """zeroes without end take neither space nor memory"""
    bomb = gzip.compress(bytes(64 * MIB)) * 8
    script = f'ulimit -f 4096; exec {IMAGO} convert -O qcow2 - new'
    done = subprocess.run(['sh', '-c', script], input=bomb, check=False, timeout=60)
    equal(done.returncode, 0)
    equal(good('qemu-img', 'info', '--output=json', 'new').json()['virtual-size'], 512 * MIB)


@test
def test_full():
    """a file that becomes too large ends the job though the pipe stays open and silent"""
    script = f'trap "" XFSZ; ulimit -f 4096; exec {IMAGO} convert -O raw - new'
    with subprocess.Popen(['sh', '-c', script], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            process.stdin.write(b'x' * 12 * MIB)
            process.stdin.flush()
        except BrokenPipeError:
            pass
        equal(process.wait(30), 1)
        assert b'error while converting' in process.stderr.read()
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
    equal(os.listdir(), [])


@test
def test_unreadable():
    """an error of the read is told, and nothing is left"""
    folder = os.open('.', os.O_RDONLY)
    done = subprocess.run([IMAGO, 'convert', '-', 'new'], stdin=folder, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(folder)
    equal((done.returncode, os.listdir()), (1, []))
    assert b'irectory' in done.stderr, done.stderr


@test
def test_silent():
    """a signal ends the wait for a pipe that says nothing"""
    for said in b'', b'\x1f', b'x' * 3 * MIB:
        with subprocess.Popen([IMAGO, 'convert', '-O', 'qcow2', '-', 'new'], stdin=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            process.stdin.write(said)
            process.stdin.flush()
            # Until it waits: before that the signal would end it by itself.
            caught = 0
            while not caught & 1 << (signal.SIGINT - 1):
                time.sleep(0.01)
                with open(f'/proc/{process.pid}/status', encoding='utf-8') as file:
                    caught = int(next(line for line in file if line.startswith('SigCgt')).split()[1], 16)
            process.send_signal(signal.SIGINT)
            equal(process.wait(30), -signal.SIGINT)
            process.stdin.close()
        equal(os.listdir(), [])


@test
def test_killed_producer():
    """a producer that dies is seen by the wrapping, the digest or the length"""
    disk = make_disk()[:4 * MIB]
    save('disk.gz', wrap(disk, 'gzip'))
    digest = hashlib.sha256(open('disk.gz', 'rb').read()).hexdigest()
    script = f'(head -c 20000 disk.gz; kill -9 $$) | {IMAGO} convert'
    for options in '', f'--sha256 {digest}', f'--unwrap none --length {os.path.getsize("disk.gz")}':
        subprocess.run(['sh', '-c', f'({script} {options} - new; echo $? > status)'], check=False, stderr=subprocess.DEVNULL)
        for _ in range(3000):
            if os.path.exists('status') and os.path.getsize('status') > 0:
                break
            time.sleep(0.01)
        equal(open('status').read().strip(), '1')
        os.unlink('status')
        equal(os.listdir(), ['disk.gz'])


@test
def test_missing():
    """what the library was built without is refused by its name"""
    for wrapping in KNOWN:
        if wrapping not in WRAPPINGS:
            content = wrap(b'x' * 5120, wrapping)
            for options in [], ['--unwrap', wrapping], ['-O', 'qcow2', '-c']:
                refused(content, *options, text=f'compressed with {wrapping}, which this library was built without')
            equal(feed(content, '--unwrap', 'none', '-', 'new')[0], 0)
            os.unlink('new')


def pipe_line(script, *tools):
    """Runs it as a user would; the status is that of the command, or with pipefail that of the first who failed."""
    for tool in ['bash', *tools]:
        if shutil.which(tool) is None:
            raise Skip(f'there is no {tool}')
    env = dict(os.environ, PATH=f'{os.getcwd()}/bin:{os.environ["PATH"]}')
    return subprocess.run(['bash', '-c', script], stderr=subprocess.PIPE, env=env, timeout=60, check=False)


def make_download(wrapping):
    """Wrapped by the tool itself."""
    os.mkdir('bin')
    os.symlink(os.path.abspath(IMAGO), 'bin/imago')
    save('disk', make_disk()[:4 * MIB])
    good(wrapping, '-k', '-q', 'disk')
    return next(name for name in os.listdir() if name.startswith('disk.'))


def run_pipeline(wrapping):
    name = make_download(wrapping)
    curl = f"curl -s 'file://{os.getcwd()}/{name}'"
    with open(name, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open('disk', 'rb') as file:
        plain_digest = hashlib.sha256(file.read()).hexdigest()
    wrong = hashlib.sha256(b'other').hexdigest()

    lines = [f'{curl} | {wrapping} -dc | imago convert -O qcow2 --sha256 {plain_digest} - new.qcow2']
    if wrapping in WRAPPINGS:
        lines.append(f'{curl} | imago convert -O qcow2 --unwrap auto --sha256 {digest} - new.qcow2')
    for line in lines:
        for before in '', 'set -o pipefail; ':
            done = pipe_line(before + line, 'curl', wrapping)
            equal(done.returncode, 0, done.stderr)
            good('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', 'disk', 'new.qcow2')
            os.unlink('new.qcow2')
            bad = before + line.replace(plain_digest, wrong).replace(digest, wrong)
            done = pipe_line(f'{bad} && echo published >proof', 'curl', wrapping)
            equal(done.returncode, 1)
            assert b'digest' in done.stderr, done.stderr
            equal(sorted(os.listdir()), sorted(['bin', 'disk', name]))
    # A download that ends early: without anything else the end of what the tool made of it looks like the end of the disk.
    done = pipe_line(f'set -o pipefail; {curl} | head -c 5000 | {lines[0].split("|", 1)[1]}', 'curl', wrapping)
    equal(done.returncode, 1, done.stderr)
    equal(sorted(os.listdir()), sorted(['bin', 'disk', name]))


for name in KNOWN:
    add_test(f'curl, {name} and the command in a pipeline', lambda name=name: run_pipeline(name))


if __name__ == '__main__':
    main(needs=['qemu-img'])
