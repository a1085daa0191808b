# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Encrypted images that qemu-img made: told of as qemu-img does without a key, byte for byte; disks stay closed."""

import functools
import os
import struct

from imagotest import (IMAGO, Skip, add_test, assert_fails, create, equal, good, imago, main, qemu_img,
                       qemu_text_is_known, run, test, without_later_keys)

CRYPTO_HEADER = 0x0537be77
ENABLED = 0x00ac71f3


def be16(value):
    return struct.pack('>H', value)


def be32(value):
    return struct.pack('>I', value)


def be64(value):
    return struct.pack('>Q', value)


SECRET = ['--object', 'secret,id=s,data=password']


@functools.lru_cache(None)
def encrypted(options):
    """The bytes of an encrypted image, without what is not there for all: qemu-img takes seconds for each."""
    # On a busy host it may not find out how fast it is.
    for _ in range(10):
        result = qemu_img('create', '-q', *SECRET, '-f', 'qcow2', '-o', 'encrypt.key-secret=s,' + options, 'new', '1M')
        if 'CPU usage' not in result.err:
            break
    if result.status != 0:
        raise Skip('qemu-img cannot make an encrypted image: %s' % result.err.strip())
    with open('new', 'rb') as file:
        content = file.read()
    os.unlink('new')
    return content


def with_key(name):
    return SECRET + ['--image-opts', 'driver=qcow2,file.filename=%s,encrypt.key-secret=s' % name]


def make(name, options='encrypt.format=luks,encrypt.iter-time=10', backing=None):
    with open(name, 'wb') as file:
        file.write(encrypted(options))
    if backing:
        good('qemu-img', 'rebase', '-u', '-b', backing, '-F', 'qcow2', *with_key(name))


AES = 'encrypt.format=aes'


def same_info(*args):
    """Both forms of what is said; the file is named as the first one."""
    ours = good(IMAGO, 'info', '--output=json', *args)
    theirs = good('qemu-img', 'info', '--output=json', *args)
    equal(ours.json(), without_later_keys(theirs.json()))
    if qemu_text_is_known():
        equal(ours.out, theirs.out)
        equal(good(IMAGO, 'info', *args).out, good('qemu-img', 'info', *args).out)
    return ours.json()


@test
def test_luks():
    """luks: as qemu-img says it"""
    make('a.qcow2')
    info = same_info('a.qcow2')
    equal((info['encrypted'], info['format-specific']['data']['encrypt']['format']), (True, 'luks'))
    same_info('--image-opts', 'driver=qcow2,file.filename=a.qcow2')


@test
def test_options():
    """luks: other ciphers, clusters and versions"""
    for options in ['encrypt.cipher-alg=serpent-256,encrypt.hash-alg=sha512,cluster_size=512',
                    'encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,'
                    'encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha1,extended_l2=on',
                    'encrypt.cipher-alg=twofish-128,encrypt.cipher-mode=ctr,encrypt.ivgen-alg=plain,compat=0.10']:
        make('a.qcow2', 'encrypt.format=luks,encrypt.iter-time=10,' + options)
        same_info('a.qcow2')


@test
def test_aes():
    """aes: the old way"""
    make('a.qcow2', AES)
    info = same_info('a.qcow2')
    equal(info['format-specific']['data']['encrypt'], {'format': 'aes'})
    make('b.qcow2', AES + ',compat=0.10')
    same_info('b.qcow2')


@test
def test_more_in_it():
    """luks: with a snapshot, a bitmap and two keys"""
    make('a.qcow2')
    opened = with_key('a.qcow2')
    good('qemu-img', 'snapshot', '-c', 'one', *opened)
    good('qemu-img', 'bitmap', '--add', *opened, 'b0')
    good('qemu-img', 'amend', '--object', 'secret,id=n,data=other', '-o',
         'encrypt.state=active,encrypt.new-secret=n,encrypt.keyslot=3,encrypt.iter-time=10', *opened)
    info = same_info('a.qcow2')
    equal([slot['active'] for slot in info['format-specific']['data']['encrypt']['slots']],
          [number in (0, 3) for number in range(8)])
    equal(len(info['snapshots']), 1)
    equal(len(info['format-specific']['data']['bitmaps']), 1)
    # No key is needed for these; qemu-img asks for one.
    equal(good(IMAGO, 'snapshot', '-l', 'a.qcow2').out,
          good('qemu-img', 'snapshot', '-l', *opened).out)
    result = good('qemu-img', 'check', '--output=json', *opened).json()
    ours = good(IMAGO, 'check', '--output=json', 'a.qcow2').json()
    result['filename'] = ours['filename']
    equal(ours, result)


@test
def test_chain():
    """an encrypted image at each place of a chain"""
    for place in range(3):
        for number, name in enumerate(['base', 'middle', 'top']):
            backing = ['base', 'middle'][number - 1] if number else None
            if number == place:
                make(name, backing=backing)
            else:
                create(name, '1M', backing=(backing, 'qcow2') if backing else None)
        for name in ['base', 'middle', 'top']:
            same_info('-f', 'qcow2', name)
            same_info('-f', 'qcow2', '--backing-chain', name)
        assert_fails(imago('map', '-f', 'qcow2', '--output=json', 'top'), 'luks')


@test
def test_disks_stay_closed():
    """no command reads, writes or changes the disk"""
    make('luks.qcow2')
    make('aes.qcow2', AES)
    create('plain.qcow2', '1M')
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'luks.qcow2', '-F', 'qcow2', 'overlay.qcow2', '1M')
    before = {name: open(name, 'rb').read() for name in os.listdir('.')}
    for name, method in [('luks.qcow2', 'luks'), ('aes.qcow2', 'aes'), ('overlay.qcow2', 'luks')]:
        for command in [['map', name], ['map', '--output=json', name], ['convert', name, 'out'],
                        ['convert', '-f', 'qcow2', '-n', '-O', 'qcow2', name, 'plain.qcow2'],
                        ['dd', 'if=' + name, 'of=out'], ['measure', '-O', 'qcow2', name],
                        ['rebase', '-f', 'qcow2', '-b', '', name], ['commit', '-f', 'qcow2', name],
                        ['bench', '-f', 'qcow2', '-c', '1', name],
                        ['compare', name, 'plain.qcow2'], ['compare', 'plain.qcow2', name]]:
            assert_fails(imago(*command), method, status=2 if command[0] == 'compare' else 1)
        for command in ['read 0 512', 'write 0 512', 'map', 'flush']:
            result = run(IMAGO, 'io', '-f', 'qcow2', '-c', command, name)
            equal(result.status, 1, str(result))
            assert method in result.err, result
    # The overlay itself is no encrypted image: only the disk below it is.
    for name in ['luks.qcow2', 'aes.qcow2']:
        assert_fails(imago('resize', '-f', 'qcow2', name, '2M'), 'encrypted')
    equal({name: open(name, 'rb').read() for name in os.listdir('.')}, before)


# ---- headers that lie: both judge them alike ----

def template():
    data = encrypted('encrypt.format=luks,encrypt.iter-time=10')
    at = struct.unpack_from('>I', data, 100)[0]
    while struct.unpack_from('>I', data, at)[0] != CRYPTO_HEADER:
        at += 8 + (struct.unpack_from('>I', data, at + 4)[0] + 7) // 8 * 8
    return data, at + 8, struct.unpack_from('>Q', data, at + 8)[0]


def judge(data):
    with open('a.qcow2', 'wb') as file:
        file.write(data)
    theirs = qemu_img('info', '--output=json', 'a.qcow2')
    ours = imago('info', '--output=json', 'a.qcow2')
    equal(ours.status, theirs.status, '%s\n%s' % (ours, theirs))
    assert 'CRITICAL' not in ours.err and 'WARNING' not in ours.err, ours
    if ours.status == 0:
        equal(ours.json(), without_later_keys(theirs.json()))
    else:
        assert_fails(ours)
    report = imago('inspect', '--output=json', 'a.qcow2')
    equal((report.json()['encryption'], report.status, len(report.json()['problems']) > 0),
          ('luks', 2, True) if ours.status else ('luks', 0, False))


def header_test(title, *changes):
    """What is written at which places of the LUKS header."""
    def body():
        data, _, offset = template()
        changed = bytearray(data)
        for at, value in changes:
            changed[offset + at:offset + at + len(value)] = value
        judge(changed)
    add_test('header: ' + title, body)


def pointer_test(title, offset=None, length=None):
    def body():
        data, at, found = template()
        changed = bytearray(data)
        changed[at:at + 16] = be64(found if offset is None else offset) + be64(1 << 20 if length is None else length)
        judge(changed)
    add_test('pointer: ' + title, body)


def name(text):
    return text.encode() + b'\0'


header_test('as it was')
header_test('magic', (0, b'l'))
for value in [0, 2, 0xffff]:
    header_test('version %d' % value, (6, be16(value)))
for at in [8, 40, 72]:
    header_test('a name of 32 bytes at %d' % at, (at, b'a' * 32))
for text in ['', 'AES', 'foo', 'serpent', 'twofish', 'cast5', 'des', 'aes-256']:
    header_test('cipher %r' % text, (8, name(text)))
for text in ['', '-', '-:', 'xts', 'xts-', 'xts-plain', 'xts-plain64:', 'xts-plain64:sha1', 'xts-plain64:foo',
             'xts-essiv', 'xts-essiv:sha256', 'xts-essiv:', 'cbc-plain64', 'foo-plain64', 'xts-benbi', 'xts-plain-x']:
    header_test('mode %r' % text, (40, name(text)))
for length in [0, 16, 24, 32, 48, 65]:
    header_test('XTS with a key of %d bytes' % length, (108, be32(length)))
for length in [0, 16, 24, 32, 48]:
    header_test('CBC with a key of %d bytes' % length, (108, be32(length)), (40, name('cbc-plain64')))
for mode in ['ctr-plain', 'ecb-plain', 'cbc-essiv:sha256']:
    header_test('mode %r with a key of 32 bytes' % mode, (108, be32(32)), (40, name(mode)))
header_test('CAST5', (8, name('cast5')), (40, name('cbc-plain')), (108, be32(16)))
header_test('a huge key', (108, be32(0xffffffff)))
for text in ['', 'sha', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'md5', 'ripemd160', 'SHA256', 'foo']:
    header_test('hash %r' % text, (72, name(text)))
header_test('no iterations', (164, be32(0)))
header_test('most iterations', (164, be32(0xffffffff)))
for value in [0, 7, 8, 4035, 4039, 4040, 0xffffffff]:
    header_test('payload at sector %d' % value, (104, be32(value)))
header_test('an identifier without an end', (168, b'u' * 40))
header_test('an identifier that is no text', (168, b'\xff\xfe\xc3\xa4"\\\n\x01\0'))
for slot in [0, 7]:
    at = 208 + 48 * slot
    header_test('slot %d: state' % slot, (at, be32(1)))
    header_test('slot %d: active' % slot, (at, be32(ENABLED)), (at + 4, be32(1)))
    header_test('slot %d: active without iterations' % slot, (at, be32(ENABLED)), (at + 4, be32(0)))
    for stripes in [0, 3999, 0xffffffff]:
        header_test('slot %d: %d stripes' % (slot, stripes), (at + 44, be32(stripes)))
    # QEMU takes what wraps around 32 bits.
    for value in [0, 7, 8, 9, 512, 3535, 3537, 4040, 0x7fffffff]:
        header_test('slot %d: key at sector %d' % (slot, value), (at + 40, be32(value)))
pointer_test('one byte too few', length=591)
pointer_test('just enough', length=592)
pointer_test('nothing', length=0)
pointer_test('most', length=2**63 - 1)
pointer_test('the image itself', offset=0)
pointer_test('past the end', offset=1 << 40)
pointer_test('around the end of numbers', offset=2**64 - 65536)
pointer_test('not aligned', offset=65536 + 512)


if __name__ == '__main__':
    main(needs=['qemu-img'])
