# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Block devices: a disk is made on one, copied onto it, read, written and discarded; it keeps its size."""

import contextlib
import hashlib
import os
import shutil
import subprocess

from imagotest import IMAGO, Skip, assert_fails, create, equal, good, imago, main, qemu_img, qemu_io, run, test

MIB = 1 << 20
SIZE = 16 * MIB


@contextlib.contextmanager
def device(pattern=0x55):
    """A device of SIZE bytes in use for something else before, on a file."""
    if shutil.which('losetup') is None:
        raise Skip('losetup is not installed')
    with open('disk', 'wb') as file:
        file.write(bytes([pattern]) * SIZE)
    attached = run('losetup', '--show', '-f', 'disk')
    if attached.status != 0:
        raise Skip('no device can be made here')
    path = attached.out.strip()
    try:
        yield path
    finally:
        run('losetup', '-d', path)


def assert_sound(path, format='qcow2'):
    good('qemu-img', 'check', '-q', '-f', format, path)
    equal(imago('check', '-f', format, path).status, 0)


@test
def test_create():
    """create writes a device in place, and refuses one that is too small for the disk"""
    with device() as path:
        good(IMAGO, 'create', '-q', '-f', 'qcow2', path, '64M')
        assert_sound(path)
        for program in (IMAGO, 'qemu-img'):
            assert '64 MiB (67108864 bytes)' in good(program, 'info', path, '-f', 'qcow2').out
        assert os.path.exists(path)
        equal(os.path.getsize('disk'), SIZE)
        result = imago('create', '-q', '-f', 'raw', path, str(2 * SIZE))
        theirs = qemu_img('create', '-q', '-f', 'raw', path, str(2 * SIZE))
        equal(result.status, theirs.status, '%s\n%s' % (result, theirs))
        assert_fails(result)


@test
def test_use():
    """a qcow2 image on a device is written, read, discarded and has zeroes written"""
    with device() as path:
        good(IMAGO, 'create', '-q', '-f', 'qcow2', path, '8M')
        commands = ['write -P 1 0 1M', 'write -P 2 3M 100k', 'write -P 3 1000 3000', 'discard 64k 128k', 'write -z 256k 64k',
                    'write -zu 512k 64k', 'write -c -P 4 4M 64k', 'flush']
        good(IMAGO, 'io', '-f', 'qcow2', *[word for command in commands for word in ('-c', command)], path)
        assert_sound(path)
        create('same.qcow2', '8M')
        qemu_io('same.qcow2', commands)
        good('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', path, 'same.qcow2')


@test
def test_raw():
    """the bytes of a device are those of a raw disk, of its size"""
    with device() as path:
        commands = ['write -P 1 0 1M', 'write -P 2 100 1000', 'discard 64k 128k', 'write -z 256k 64k', 'write -zu 512k 64k',
                    'write -P 3 %d 512' % (SIZE - 512), 'flush']
        shutil.copyfile('disk', 'same')
        good(IMAGO, 'io', '-f', 'raw', *[word for command in commands for word in ('-c', command)], path)
        qemu_io('same', commands, '-f', 'raw')
        good('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'raw', path, 'same')
        result = imago('io', '-f', 'raw', '-c', 'write %d 1024' % (SIZE - 512), path)
        assert result.status != 0, str(result)
        assert 'virtual size: 16 MiB' in good(IMAGO, 'info', '-f', 'raw', path).out


@test
def test_convert():
    """convert writes onto a device, as raw and as qcow2, and what was there is gone"""
    create('source.qcow2', str(SIZE))
    qemu_io('source.qcow2', ['write -P 1 0 1M', 'write -P 2 5M 64k'])
    with device() as path:
        for format in ('qcow2', 'raw'):
            good(IMAGO, 'convert', '-O', format, 'source.qcow2', path)
            if format == 'qcow2':
                assert_sound(path)
            good('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', format, 'source.qcow2', path)
            good(IMAGO, 'compare', '-q', '-f', 'qcow2', '-F', format, 'source.qcow2', path)
        good(IMAGO, 'convert', '-f', 'raw', '-O', 'qcow2', path, 'back.qcow2')
        good('qemu-img', 'compare', '-q', 'source.qcow2', 'back.qcow2')
        create('large.qcow2', '64M')
        qemu_io('large.qcow2', ['write -P 1 60M 64k'])
        assert_fails(imago('convert', '-O', 'raw', 'large.qcow2', path))


def feed(content, *args):
    """Converts what a pipe gives."""
    return subprocess.run([IMAGO, 'convert', *args], input=content, stderr=subprocess.PIPE, timeout=60, check=False)


@test
def test_stream():
    """a stream goes onto a device whose length is told; a digest, which would come too late, is refused before it"""
    content = os.urandom(MIB) + bytes(MIB) + b'x' * MIB
    digest = hashlib.sha256(content).hexdigest()
    with open('content', 'wb') as file:
        file.write(content)
    with device() as path:
        for format in ('raw', 'qcow2'):
            for options in ([], ['--sha256', digest], ['--length', '3M', '--sha256', digest], ['--length', '3M', '--sha256', 'x']):
                done = feed(content, '-O', format, *options, '-', path)
                equal(done.returncode, 1, done.stderr)
                assert b'digest' in done.stderr, done.stderr
                with open(path, 'rb') as file:
                    assert file.read() == b'\x55' * SIZE, (format, options)
        done = feed(content, '-O', 'raw', '--length', '3M', '-', path)
        equal(done.returncode, 0, done.stderr)
        with open(path, 'rb') as file:
            assert file.read(3 * MIB) == content
            assert file.read() == b'\x55' * (SIZE - 3 * MIB)
        done = feed(content, '-O', 'qcow2', '--length', '3M', '-', path)
        equal(done.returncode, 0, done.stderr)
        assert_sound(path)
        good('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', 'content', path)


@test
def test_resize():
    """a device keeps its size: to resize a raw one is refused, and changes nothing"""
    with device() as path:
        for size in ('8M', '32M', '+1M'):
            theirs = qemu_img('resize', '-f', 'raw', '--shrink', path, size)
            result = imago('resize', '-f', 'raw', '--shrink', path, size)
            equal(result.status, theirs.status, '%s\n%s' % (result, theirs))
        with open('disk', 'rb') as file:
            assert file.read() == b'\x55' * SIZE
        good(IMAGO, 'resize', '-q', '-f', 'raw', path, str(SIZE))
        good(IMAGO, 'create', '-q', '-f', 'qcow2', path, '8M')
        good(IMAGO, 'resize', '-q', '-f', 'qcow2', path, '12M')
        assert_sound(path)


main(needs=['qemu-img', 'qemu-io'])
