# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Which files the command opens, and which it does not."""

import os
import re

from imagotest import IMAGO, assert_fails, can_strace, create, equal, good, imago, main, qemu_io, run, test, without_later_keys

READERS = [('map', '--output=json', 'IMAGE'), ('convert', 'IMAGE', 'out'), ('io', '-r', '-c', 'read 0 512', 'IMAGE'),
           ('info', '--backing-chain', 'IMAGE')]


def readers(image, *options, program=(IMAGO,)):
    """Runs each command that reads a disk."""
    for reader in READERS:
        args = [image if word == 'IMAGE' else word for word in reader]
        yield run(*program, args[0], *options, *args[1:])


def all_good(image, *options):
    for result in readers(image, *options):
        equal(result.status, 0, str(result))


def all_fail(image, *options, words=()):
    if os.path.exists('out'):
        os.unlink('out')
    for result in readers(image, *options):
        # The description of a chain does not need the data file of an image without a backing file.
        if image != 'd.qcow2' or 'info' not in result.args:
            assert_fails(result, *words)
    assert not os.path.exists('out')


def make_elsewhere():
    os.makedirs('here')
    os.makedirs('there')
    create('there/base.raw', '1M', 'raw')
    qemu_io('there/base.raw', ['write -P 7 0 64k'], '-f', 'raw')
    create('here/a.qcow2', backing=('../there/base.raw', 'raw'))
    return 'here/a.qcow2'


@test
def test_same_directory():
    """files beside the image are opened, by relative and absolute names"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', backing=('base.raw', 'raw'))
    create('b.qcow2', backing=(os.path.abspath('a.qcow2'), 'qcow2'))
    create('d.qcow2', '1M', options='data_file=d.raw')
    for image in ['a.qcow2', 'b.qcow2', './b.qcow2', os.path.abspath('b.qcow2'), 'd.qcow2']:
        all_good(image)
        all_good(image, '--references=same-dir')
        all_good(image, '--references=any')
        all_good(image, '--references', 'any')


@test
def test_deny():
    """--references=deny opens one file"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', backing=('base.raw', 'raw'))
    create('d.qcow2', '1M', options='data_file=d.raw')
    all_fail('a.qcow2', '--references=deny', words=['base.raw'])
    all_fail('d.qcow2', '--references=deny', words=['d.raw'])
    all_good('base.raw', '--references=deny')
    assert_fails(imago('map', '--references=bogus', 'a.qcow2'), '--references')


@test
def test_elsewhere():
    """files in other folders only on request; the refusal names the file and the option"""
    image = make_elsewhere()
    all_fail(image, words=['../there/base.raw', '--references=any'])
    all_good(image, '--references=any')
    good(IMAGO, 'info', image)
    create('here/p.qcow2', '1M')
    for name in ['/etc/passwd', os.path.abspath('there/base.raw')]:
        good('qemu-img', 'rebase', '-u', '-b', name, '-F', 'raw', 'here/p.qcow2')
        all_fail('here/p.qcow2', words=[name, '--references=any'])


@test
def test_protocols():
    """names of protocols are never followed"""
    create('a.qcow2', '1M')
    create('base.raw', '1M', 'raw')
    for name in ['json:{"driver":"file","filename":"base.raw"}', 'nbd://localhost/x', 'file:base.raw', 'fat:.']:
        good('qemu-img', 'rebase', '-u', '-b', name, '-F', 'raw', 'a.qcow2')
        all_fail('a.qcow2', words=['a.qcow2'])
        all_fail('a.qcow2', '--references=any', words=['a.qcow2'])
        good(IMAGO, 'info', 'a.qcow2')


@test
def test_guess():
    """an image that nobody called qcow2 follows no reference until somebody does"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', backing=('base.raw', 'raw'))
    for name in ['a.img', 'a', 'a.raw', 'a.qcow2.bak']:
        good('cp', 'a.qcow2', name)
        all_fail(name, words=[name, '-f qcow2'])
        all_good(name, '-f', 'qcow2')
        equal(good(IMAGO, 'info', '--output=json', name).json()['format'], 'qcow2')
    for name in ['b.qcow2', 'B.QCOW2']:
        good('cp', 'a.qcow2', name)
        all_good(name)
    # Nothing can go wrong where there is nothing to follow.
    create('plain.img', '1M')
    all_good('plain.img')
    # Declared raw it is raw, whatever its guest wrote into it.
    equal(good(IMAGO, 'info', '-f', 'raw', '--output=json', 'a.qcow2').json()['format'], 'raw')


@test
def test_missing_backing_format():
    """a backing file of no declared format is not guessed, but where everything is allowed"""
    create('base.qcow2', '1M')
    create('a.qcow2', backing=('base.qcow2', 'qcow2'))
    data = open('a.qcow2', 'rb').read()
    # Renaming the extension makes it one that nobody knows.
    assert data.count(b'\xe2\x79\x2a\xca') == 1
    with open('a.qcow2', 'wb') as file:
        file.write(data.replace(b'\xe2\x79\x2a\xca', b'\xe2\x79\x2a\xcb'))
    all_fail('a.qcow2', words=['base.qcow2'])
    all_good('a.qcow2', '--references=any')


@test
def test_qemu_names():
    """called qemu-img or qemu-io, the command opens what these would open"""
    image = make_elsewhere()
    good('cp', image, 'here/guess')
    os.symlink(IMAGO, 'qemu-img')
    os.symlink(IMAGO, 'qemu-io')
    for name in [image, 'here/guess']:
        good('./qemu-img', 'convert', name, 'out')
        for args in [('map', '--output=json', name), ('info', '--output=json', '--backing-chain', name)]:
            equal(good('./qemu-img', *args).json(), without_later_keys(good('qemu-img', *args).json()))
        equal(good('./qemu-io', '-c', 'length', '-c', 'read -v 0 32', name).out.splitlines()[:4],
              good('qemu-io', '-r', '-c', 'length', '-c', 'read -v 0 32', name).out.splitlines()[:4])
    for args in [('info', 'nofile'), ('bogus',), ('map',), ()]:
        mine, theirs = run('./qemu-img', *args), run('qemu-img', *args)
        equal(mine.status, theirs.status)
        assert mine.err.startswith('qemu-img: '), mine
    mine = run('./qemu-io', stdin='length\n')
    assert mine.out.startswith('qemu-io> '), mine
    assert good('./qemu-io', '--help').out.startswith('Usage: qemu-io ')
    assert_fails(run('./qemu-img', 'map', '--references=same-dir', image), '--references=any')


@test
def test_loop():
    """chains that lead back to themselves end"""
    create('a.qcow2', '1M')
    create('b.qcow2', backing=('a.qcow2', 'qcow2'))
    good('qemu-img', 'rebase', '-u', '-b', 'b.qcow2', '-F', 'qcow2', 'a.qcow2')
    all_fail('a.qcow2', words=['a.qcow2'])
    good('qemu-img', 'rebase', '-u', '-b', 'a.qcow2', '-F', 'qcow2', 'a.qcow2')
    all_fail('a.qcow2', words=['a.qcow2'])
    os.link('b.qcow2', 'c.qcow2')
    good('qemu-img', 'rebase', '-u', '-b', 'c.qcow2', '-F', 'qcow2', 'b.qcow2')
    all_fail('b.qcow2', words=['b.qcow2'])


@test
def test_depth():
    """a chain of any length is opened up to a limit, without crashing"""
    create('0.qcow2', '1M')
    for i in range(1, 80):
        create('%d.qcow2' % i, '1M')
        good('qemu-img', 'rebase', '-u', '-b', '%d.qcow2' % (i - 1), '-F', 'qcow2', '%d.qcow2' % i)
    all_good('15.qcow2')
    all_fail('79.qcow2', words=['79.qcow2'])


@test
def test_special_files():
    """FIFOs, folders and devices are refused without waiting for anybody"""
    os.mkfifo('fifo')
    os.mkdir('folder')
    for name in ['fifo', 'folder', '/dev/zero']:
        all_fail(name, words=[name])
        assert_fails(imago('info', name), name)
        assert_fails(imago('inspect', name), name)
    for name in ['fifo', 'folder']:
        create('a.qcow2', '1M')
        good('qemu-img', 'rebase', '-u', '-b', name, '-F', 'raw', 'a.qcow2')
        all_fail('a.qcow2', words=[name])
        all_fail('a.qcow2', '--references=any', words=[name])


def opened_files(*args):
    """The files of the working folder that a command opens."""
    run('strace', '-f', '-qq', '-e', 'trace=open,openat,openat2,creat', '-o', '../trace', IMAGO, *args)
    here = os.getcwd()
    opened = []
    for line in open('../trace'):
        match = re.search(r'open(?:at2?)?\((?:AT_FDCWD|\d+<?[^,]*)?,? ?"([^"]*)".*\) = \d', line)
        if match:
            path = os.path.normpath(os.path.join(here, match.group(1)))
            if path.startswith(here + '/'):
                opened.append(os.path.relpath(path, here))
    return opened


@test
def test_one_file():
    """inspect and info open one file, once, whatever it refers to"""
    can_strace()
    os.mkdir('work')
    os.chdir('work')
    create('base.raw', '1M', 'raw')
    create('a.qcow2', backing=('base.raw', 'raw'))
    create('d.qcow2', '1M', options='data_file=d.raw')
    create('self.qcow2', '1M')
    good('qemu-img', 'rebase', '-u', '-b', 'self.qcow2', '-F', 'qcow2', 'self.qcow2')
    for image in ['a.qcow2', 'd.qcow2', 'self.qcow2', 'base.raw']:
        for args in [('inspect',), ('inspect', '--output=json'), ('info',), ('snapshot', '-l')]:
            equal(opened_files(*args, image), [image], '%s %s' % (args, image))
    # The check is worth something: the others do open more.
    equal(opened_files('map', 'a.qcow2'), ['a.qcow2', 'base.raw'])
    equal(opened_files('map', 'd.qcow2'), ['d.qcow2', 'd.raw'])


@test
def test_read_only():
    """nothing that is read changes, not even its times"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', options='lazy_refcounts=on', backing=('base.raw', 'raw'))
    qemu_io('a.qcow2', ['write -P 1 0 64k'])
    with open('a.qcow2', 'r+b') as file:
        # Dirty, with an unknown autoclear and an unknown compatible feature.
        file.seek(72)
        file.write((1).to_bytes(8, 'big') + (0x8001).to_bytes(8, 'big') + (0x4000).to_bytes(8, 'big'))
    os.chmod('a.qcow2', 0o444)
    before = [(os.stat(name).st_mtime_ns, os.stat(name).st_ctime_ns, open(name, 'rb').read())
              for name in ['a.qcow2', 'base.raw']]
    all_good('a.qcow2')
    good(IMAGO, 'info', 'a.qcow2')
    imago('inspect', 'a.qcow2')
    after = [(os.stat(name).st_mtime_ns, os.stat(name).st_ctime_ns, open(name, 'rb').read())
             for name in ['a.qcow2', 'base.raw']]
    equal(before, after)


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
