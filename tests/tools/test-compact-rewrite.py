# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago compact --rewrite: what the new file is like, and what is refused, with qemu-img and qemu-io as witnesses."""

import functools
import os
import random
import shutil
import stat
import struct
import subprocess

from imagotest import (IMAGO, Skip, add_test, assert_fails, create, equal, good, main, poke, qemu_img, qemu_io, run, same_content,
                       test)

MIB = 1024 * 1024
SHAPES = ['cluster_size=4k,lazy_refcounts=on,refcount_bits=1', 'cluster_size=2M', 'extended_l2=on,compression_type=zstd',
          'compat=0.10', 'cluster_size=512,refcount_bits=64', 'preallocation=full']


def info(name):
    """What it says about the options of an image."""
    found = qemu_img('info', '--output=json', name).json()
    for key in ('actual-size', 'dirty-flag', 'children'):
        found.pop(key, None)
    return found


def content(name):
    with open(name, 'rb') as file:
        return file.read()


def rewrite(name, *options):
    """By way of a comparison with a copy of what it was; returns the copy's name."""
    before, copy = info(name), name + '.before'
    shutil.copyfile(name, copy)
    good(IMAGO, 'compact', '-q', '--rewrite', *options, name)
    equal(info(name), before)
    good('qemu-img', 'compare', name, copy)
    good('qemu-img', 'check', '-q', name)
    return copy


def refused(name, *words):
    """The message has all @words, and nothing in the folder has changed."""
    before = {entry: (os.stat(entry).st_ino, content(entry)) for entry in os.listdir('.') if os.path.isfile(entry)}
    assert_fails(run(IMAGO, 'compact', '--rewrite', name), *words)
    equal({entry: (os.stat(entry).st_ino, content(entry)) for entry in os.listdir('.') if os.path.isfile(entry)} == before,
          True)


def fill(name, seed, size=6):
    """Data, zeroes as data, and what was given up."""
    rng = random.Random(seed)
    commands = []
    for _ in range(20):
        offset = rng.randrange(0, (size - 1) * 256) * 4
        commands.append('write -P %d %dk %dk' % (rng.choice([0, 0, rng.randrange(1, 256)]), offset,
                                                 4 * rng.randrange(1, 200)))
        if rng.randrange(4) == 0:
            commands.append('discard %dk 512k' % offset)
    qemu_io(name, commands, '-t', 'unsafe')


def check_shape(shape, seed):
    create('x.qcow2', '6M', options=shape)
    fill('x.qcow2', seed)
    copy = rewrite('x.qcow2')
    options = [option for option in shape.split(',') if 'preallocation' not in option]
    good('qemu-img', 'convert', '-O', 'qcow2', *(['-o', ','.join(options)] if options else []), copy, 'fresh.qcow2')
    slack = 2 * info(copy)['cluster-size']
    assert os.path.getsize('x.qcow2') <= os.path.getsize('fresh.qcow2') + slack, shape
    assert os.path.getsize('x.qcow2') <= os.path.getsize(copy), shape


for number, each in enumerate(SHAPES):
    add_test('an image keeps its options and its disk, and is no larger than a fresh conversion: ' + each,
             functools.partial(check_shape, each, number))


@test
def test_leaks():
    """clusters that only seem to be in use, and what a deleted snapshot left, are gone"""
    create('x.qcow2', '16M')
    qemu_io('x.qcow2', ['write -P 1 0 4M'])
    good('qemu-img', 'snapshot', '-c', 'one', 'x.qcow2')
    qemu_io('x.qcow2', ['write -P 2 0 8M'])
    good('qemu-img', 'snapshot', '-d', 'one', 'x.qcow2')
    size = os.path.getsize('x.qcow2')
    out = good(IMAGO, 'compact', '--rewrite', 'x.qcow2').out
    assert out.endswith(' bytes were given back.\n'), out
    assert os.path.getsize('x.qcow2') < size - 3 * MIB
    good('qemu-img', 'check', '-q', 'x.qcow2')
    qemu_io('x.qcow2', ['read -P 2 0 8M', 'write -P 3 12M 1M', 'read -P 3 12M 1M'])


def check_compressed(compression):
    with open('disk.raw', 'wb') as file:
        file.write(b'twelve angry men ' * 300000)
    good('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', 'compression_type=' + compression, 'disk.raw',
         'x.qcow2')
    qemu_io('x.qcow2', ['write -P 5 1M 1M'])
    copy = rewrite('x.qcow2')
    assert os.path.getsize('x.qcow2') <= os.path.getsize(copy) - MIB // 2
    assert good('qemu-img', 'check', 'x.qcow2').out.count(' 100.00% compressed') == 1


for method in 'zlib', 'zstd':
    add_test('what is compressed stays so, by the same method: ' + method, functools.partial(check_compressed, method))


@test
def test_backing():
    """an overlay keeps the name of its backing file as it stands there, and holds no more than it did"""
    create('base.qcow2', '8M')
    qemu_io('base.qcow2', ['write -P 9 0 8M'])
    for name, options in [('base.qcow2', 'compat=1.1'), ('./base.qcow2', 'extended_l2=on'),
                          (os.path.abspath('base.qcow2'), 'compat=0.10')]:
        create('over.qcow2', options=options, backing=(name, 'qcow2'))
        qemu_io('over.qcow2', ['write -P 0 0 1M', 'write -P 3 2M 64k', 'write -z 3M 1M', 'write -P 4 6M 4k'])
        copy = rewrite('over.qcow2')
        assert os.path.getsize('over.qcow2') <= os.path.getsize(copy) < 4 * MIB
        os.unlink('over.qcow2')


@test
def test_is_backing():
    """the overlays of an image read the same from its new file"""
    create('base.qcow2', '8M')
    qemu_io('base.qcow2', ['write -P 9 0 4M', 'write -P 0 4M 4M'])
    create('over.qcow2', backing=('base.qcow2', 'qcow2'))
    qemu_io('over.qcow2', ['write -P 1 1M 1M'])
    good('qemu-img', 'convert', '-O', 'raw', 'over.qcow2', 'before.raw')
    rewrite('base.qcow2')
    good('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'over.qcow2')


@test
def test_raw():
    """a raw disk gets holes, and stays as long as it is, also if it does not end with a sector"""
    with open('x.raw', 'wb') as file:
        file.write(b'a' * MIB + bytes(4 * MIB) + b'b' * 1024)
    shutil.copyfile('x.raw', 'y.raw')
    inode = os.stat('x.raw').st_ino
    good(IMAGO, 'compact', '-q', '--rewrite', '-f', 'raw', 'x.raw')
    same_content('x.raw', 'y.raw')
    assert os.stat('x.raw').st_blocks * 512 < 2 * MIB and os.stat('x.raw').st_ino != inode
    for content in [b'', b'c', b'd' * 511, bytes(513), b'e' * 4095 + bytes(MIB) + b'f']:
        for name in 'x.raw', 'y.raw':
            with open(name, 'wb') as file:
                file.write(content)
        inode = os.stat('x.raw').st_ino
        good(IMAGO, 'compact', '-q', '--rewrite', '-f', 'raw', 'x.raw')
        same_content('x.raw', 'y.raw')
        assert os.stat('x.raw').st_ino != inode


@test
def test_losses():
    """what would be lost is refused by its name, and nothing is touched"""
    create('x.qcow2', '4M')
    qemu_io('x.qcow2', ['write -P 0 0 1M'])
    good('qemu-img', 'snapshot', '-c', 'first', 'x.qcow2')
    good('qemu-img', 'snapshot', '-c', 'second', 'x.qcow2')
    refused('x.qcow2', '“first”, “second”')
    create('d.qcow2', '4M', options='data_file=d.raw')
    refused('d.qcow2', 'external data file')
    create('u.qcow2', '4M')
    with open('u.qcow2', 'r+b') as file:
        file.seek(80)
        file.write((1 << 40).to_bytes(8, 'big'))  # a compatible feature of the future
    refused('u.qcow2', 'knows nothing of')
    create('f.qcow2', '4M')
    poke('f.qcow2', 105, b'\1')  # a field of the header of the future
    refused('f.qcow2', 'knows nothing of')


@test
def test_names():
    """hard links are refused; behind a symbolic link its target is replaced, and the link stays"""
    create('x.qcow2', '4M')
    qemu_io('x.qcow2', ['write -P 0 0 1M'])
    os.link('x.qcow2', 'other.qcow2')
    refused('x.qcow2', 'hard links', 'x.qcow2')
    os.unlink('other.qcow2')
    os.mkdir('folder')
    os.symlink('../x.qcow2', 'folder/link.qcow2')
    inode = os.stat('x.qcow2').st_ino
    good(IMAGO, 'compact', '-q', '--rewrite', 'folder/link.qcow2')
    assert os.path.islink('folder/link.qcow2') and os.stat('x.qcow2').st_ino != inode
    equal(sorted(os.listdir('.')), ['folder', 'x.qcow2'])
    equal(os.listdir('folder'), ['link.qcow2'])
    assert_fails(run(IMAGO, 'compact', '--rewrite', '--image-opts', 'driver=raw,file.filename=x.qcow2,offset=65536'),
                 'regular file of its own')
    assert_fails(run(IMAGO, 'compact', '--rewrite', '--punch', 'x.qcow2'), 'mutually exclusive')
    good(IMAGO, 'compact', '-q', '--punch', 'x.qcow2')


@test
def test_metadata():
    """mode, owner and extended attributes go with the name"""
    create('x.qcow2', '4M')
    os.chmod('x.qcow2', 0o640)
    if os.geteuid() == 0:
        os.chown('x.qcow2', 12345, 23456)
    try:
        os.setxattr('x.qcow2', 'user.imago', b'kept')
        attribute = True
    except OSError:
        attribute = False
    before = os.stat('x.qcow2')
    good(IMAGO, 'compact', '-q', '--rewrite', 'x.qcow2')
    after = os.stat('x.qcow2')
    assert after.st_ino != before.st_ino
    equal((stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid), (0o640, before.st_uid, before.st_gid))
    if attribute:
        equal(os.getxattr('x.qcow2', 'user.imago'), b'kept')


@test
def test_in_use():
    """an image that somebody has open, to read or to write, is not rewritten"""
    create('x.qcow2', '4M')
    for options in [], ['-r']:
        user = subprocess.Popen(['qemu-io', *options, 'x.qcow2'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        user.stdin.write(b'read 0 512\n')
        user.stdin.flush()
        user.stdout.readline()
        refused('x.qcow2', 'in use')
        user.communicate(b'quit\n')
    good(IMAGO, 'compact', '-q', '--rewrite', 'x.qcow2')


def access_list(*entries):
    """As the kernel stores it: of the owner, the group and others, and of users by their number."""
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)


@test
def test_inherited():
    """nobody gets a right to the new file from its folder that there was none to the old one"""
    nobody = 0xffffffff
    create('x.qcow2', '4M')
    os.chmod('x.qcow2', 0o640)
    try:
        os.setxattr('.', 'system.posix_acl_default',
                    access_list((1, 7, nobody), (2, 7, 12345), (4, 7, nobody), (16, 7, nobody), (32, 5, nobody)))
    except OSError as error:
        raise Skip('the file system has no access control lists') from error
    good(IMAGO, 'compact', '-q', '--rewrite', 'x.qcow2')
    equal((os.listxattr('x.qcow2'), stat.S_IMODE(os.stat('x.qcow2').st_mode)), ([], 0o640))
    own = access_list((1, 6, nobody), (2, 4, 23456), (4, 0, nobody), (16, 4, nobody), (32, 0, nobody))
    os.setxattr('x.qcow2', 'system.posix_acl_access', own)
    good(IMAGO, 'compact', '-q', '--rewrite', 'x.qcow2')
    equal(os.getxattr('x.qcow2', 'system.posix_acl_access'), own)


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
