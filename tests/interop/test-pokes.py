# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Images that qemu-img made and somebody broke: a clean message, and neither time nor memory lost on them."""

import functools
import os
import re
import struct

from imagotest import IMAGO, add_test, create, diagnose, equal, good, imago, main, qemu_io, run, sanitized

MEMORY = 16 << 20
CLUSTER = 65536
FEATURE_NAMES = b'\x68\x03\xf8\x57'
HIGH = 0x0123456789abcdef

ALL = ('info', 'map', 'convert')
READ = ('map', 'convert')
NONE = ()
# The text of map refuses compressed clusters, which the image has.
ARGUMENTS = {'map': ['--output=json'], 'snapshot': ['-l'], 'convert': ['-t', 'unsafe']}

worst = {'rss': 0, 'seconds': 0.0}


def be32(value):
    return struct.pack('>I', value)


def be64(value):
    return struct.pack('>Q', value)


class Image:
    """An image with data, a backing file name, a snapshot and a bitmap, and where its tables are."""

    template = None

    @classmethod
    def make(cls):
        create('base.raw', '1M', 'raw')
        create('a.qcow2', '1M', backing=('base.raw', 'raw'))
        qemu_io('a.qcow2', ['write -P 1 0 128k', 'write -c -P 2 512k 64k'])
        good('qemu-img', 'snapshot', '-c', 'snapshot', 'a.qcow2')
        qemu_io('a.qcow2', ['write -P 3 64k 64k'])
        good('qemu-img', 'bitmap', '--add', 'a.qcow2', 'bitmap')
        cls.template = open('a.qcow2', 'rb').read()

    def __init__(self):
        self.name = 'a.qcow2'
        if Image.template is None:
            Image.make()
        with open('base.raw', 'wb') as file:
            file.truncate(1 << 20)
        self.data = bytearray(Image.template)
        self.l1 = self.get64(40) & ~511
        self.l2 = self.get64(self.l1) & 0x00fffffffffffe00
        self.snapshots = self.get64(64)
        self.extensions = self.get32(100)
        self.bitmaps = self.data.index(b'\x23\x85\x28\x75')
        self.bitmap_directory = self.get64(self.bitmaps + 24)

    def get32(self, offset):
        return struct.unpack_from('>I', self.data, offset)[0]

    def get64(self, offset):
        return struct.unpack_from('>Q', self.data, offset)[0]

    def poke(self, offset, data):
        self.data[offset:offset + len(data)] = data

    def write(self):
        with open(self.name, 'wb') as file:
            file.write(self.data)


@functools.lru_cache(None)
def idle():
    """What the command needs for a sound image."""
    create('good.qcow2', '1M')
    return good(IMAGO, 'info', 'good.qcow2').max_rss


def check(image, failing, pattern, baseline):
    for command in ALL + ('inspect', 'snapshot'):
        result = imago(command, *ARGUMENTS.get(command, []), image.name, *(['out'] if command == 'convert' else []))
        worst['seconds'] = max(worst['seconds'], result.seconds)
        if not sanitized():
            more = result.max_rss - baseline
            worst['rss'] = max(worst['rss'], more)
            assert more <= MEMORY, '%d KiB more: %s' % (more // 1024, result)
        allowed = (0, 1, 2) if command == 'inspect' else (0, 1)
        assert result.status in allowed, result
        assert 'CRITICAL' not in result.err and 'WARNING' not in result.err, result
        if result.status == 1:
            assert result.err.startswith('imago: ') and len(result.err) < 1000, result
        if command in failing:
            equal(result.status, 1, str(result))
            assert re.search(pattern, result.err, re.IGNORECASE), 'no %r in %s' % (pattern, result)
        elif command in ALL:
            equal(result.status, 0, str(result))
        if command == 'convert' and result.status:
            assert not os.path.exists('out'), result


def poke_test(title, failing, pattern, change):
    def run():
        baseline = idle()
        image = Image()
        change(image)
        image.write()
        check(image, failing, pattern, baseline)
    add_test(title, run)


def at(offset, data):
    return lambda image: image.poke(offset, data)


def several(*changes):
    def change(image):
        for each in changes:
            each(image)
    return change


# ---- the header ----

for value in [0xffffffff, 0x7fffffff]:
    poke_test('header length %#x' % value, ALL, 'header', at(100, be32(value)))
for value in [0, 71, 103]:
    poke_test('header length %d' % value, ALL, 'header', at(100, be32(value)))
for value in [4, 0xffffffff]:
    poke_test('version %#x' % value, ALL, 'version', at(4, be32(value)))
for value in [0, 8, 22, 31, 63, 64, 0xffffffff]:
    poke_test('cluster bits %#x' % value, ALL, 'cluster', at(20, be32(value)))
for value in [7, 31, 0xffffffff]:
    poke_test('refcount order %#x' % value, ALL, 'refcount', at(96, be32(value)))
for value in [2**64 - 1, 2**63, 2**56, 1 << 50]:
    poke_test('disk size %#x' % value, ALL, 'size|L1', at(24, be64(value)))
for value in [2**64 - 1, 2**63 - 1, CLUSTER + 1]:
    poke_test('backing name at %#x' % value, ALL, 'backing', at(8, be64(value)))
for value in [0xffffffff, 0x7fffffff, 1024]:
    poke_test('backing name of %#x bytes' % value, ALL, 'backing', at(16, be32(value)))
for value in [3, 0xffffffff]:
    poke_test('encryption method %#x' % value, ALL, 'encrypt', at(32, be32(value)))
poke_test('encryption method 1', READ, 'AES', at(32, be32(1)))
for value in [0x7fffffff, 0xffffffff, CLUSTER]:
    poke_test('header extension of %#x bytes' % value, ALL, 'extension',
              lambda image, value=value: image.poke(image.extensions + 4, be32(value)))
for bit in [5, 62, 63]:
    poke_test('incompatible feature %d' % bit, ALL, 'feature|%d' % bit,
              lambda image, bit=bit: image.poke(72, be64(image.get64(72) | 1 << bit)))
poke_test('compression type without its feature', ALL, 'compression', at(104, b'\x01'))
poke_test('compression feature without its type', ALL, 'compression', at(72, be64(8)))
poke_test('compression type 2', ALL, 'compression', several(at(72, be64(8)), at(104, b'\x02')))
poke_test('data file without a name', ALL, 'data file', at(72, be64(4)))
poke_test('raw data file without a data file', ALL, 'data file', at(88, be64(2)))
poke_test('extended L2 of small clusters', ALL, 'extended L2|cluster', several(at(72, be64(16)), at(20, be32(12))))

# ---- tables ----

for value in [0xffffffff, 0x00020001, 0]:
    poke_test('refcount table of %#x clusters' % value, ALL, 'refcount table', at(56, be32(value)))
for value in [0x1234567890abcdef, 0xffffffffffff0000]:
    poke_test('refcount table at %#x' % value, ALL, 'refcount table', at(48, be64(value)))
for value in [0xffffffff, 0x7fffffff, 0x00400001, 0]:
    poke_test('L1 table of %#x entries' % value, ALL, 'L1', at(36, be32(value)))
for value in [0x1234567890abcdef, 0xffffffffffff0000, 2**63]:
    poke_test('L1 table at %#x' % value, ALL, 'L1', at(40, be64(value)))
for value in [0x8000000000000200, 0x00ffffffffff0000, 0x8000000000012345 & ~511]:
    poke_test('L1 entry %#x' % value, READ, 'L2', lambda image, value=value: image.poke(image.l1, be64(value)))
for value in [0xbfffffffffff0000]:
    poke_test('L2 entry %#x' % value, READ, 'cluster|L2|read',
              lambda image, value=value: image.poke(image.l2, be64(value)))
for value in [0x8000000000000200, 0x8000000000050200]:
    poke_test('unaligned L2 entry %#x' % value, READ, 'cluster|L2|align',
              lambda image, value=value: image.poke(image.l2, be64(value)))
poke_test('L2 entry 0x800000ffffff0000', READ, 'cluster|L2|end|past|outside',
          lambda image: image.poke(image.l2, be64(0x800000ffffff0000)))
poke_test('compressed cluster past the end', READ, 'compress|cluster|host offset',
          lambda image: image.poke(image.l2 + 64, be64(0x4000ffffffff0000)))
poke_test('compressed cluster of noise', ('convert',), 'compress|decod',
          lambda image: image.poke(image.get64(image.l2 + 64) & 0x003fffffffffffff, b'\xff' * 64))

# ---- snapshots ----

for value in [0xffffffff, 0x7fffffff, 0x00010001]:
    poke_test('%#x snapshots' % value, ALL, 'snapshot', at(60, be32(value)))
poke_test('0xffff snapshots', ALL, 'snapshot', at(60, be32(0xffff)))
for value in [0x1234567890abcdef, 0xffffffffffff0000]:
    poke_test('snapshot table at %#x' % value, ALL, 'snapshot', at(64, be64(value)))
for value in [1025, 0x7fffffff, 0xffffffff]:
    poke_test('a snapshot with %d bytes of extra data' % value, ('info', 'snapshot'), 'snapshot',
              lambda image, value=value: image.poke(image.snapshots + 36, be32(value)))


def snapshot_test(title, pattern, change):
    def run():
        baseline = idle()
        image = Image()
        change(image)
        image.write()
        result = imago('convert', '-l', '1', image.name, 'out')
        equal(result.status, 1, str(result))
        assert re.search(pattern, result.err, re.IGNORECASE), result
        assert sanitized() or result.max_rss - baseline <= MEMORY, result
        assert not os.path.exists('out')
        check(image, NONE, '', baseline)
    add_test(title, run)


for value in [0x00400200, HIGH, 0xffffffffffff0000]:
    snapshot_test("a snapshot's L1 table at %#x" % value, 'L1|snapshot',
                  lambda image, value=value: image.poke(image.snapshots, be64(value)))
for value in [0x10000000, 0xffffffff, 0]:
    snapshot_test("a snapshot's L1 table of %#x entries" % value, 'L1|snapshot',
                  lambda image, value=value: image.poke(image.snapshots + 8, be32(value)))

# ---- bitmaps ----

for offset, data, title in [(8, be32(0), 'no bitmap'), (8, be32(0xffffffff), '0xffffffff bitmaps'),
                            (16, be64(2**63), 'directory of 2^63 bytes'), (24, be64(HIGH), 'directory at an odd place'),
                            (24, be64(0xffffffffffff0000), 'directory past the end')]:
    poke_test('bitmaps: ' + title, ALL, 'bitmap',
              lambda image, offset=offset, data=data: image.poke(image.bitmaps + offset, data))

# ---- what is in order though it looks odd ----

poke_test('unknown compatible and autoclear features', NONE, '', several(at(80, be64(2**40)), at(88, be64(2**41 + 1))))
poke_test('dirty and corrupt', NONE, '', lambda image: image.poke(72, be64(image.get64(72) | 3)))
poke_test('unknown header extension', NONE, '',
          lambda image: image.poke(image.data.index(FEATURE_NAMES), b'\x12\x34\x56\x78'))


def many_entries_one_table():
    """A disk of terabytes in a small file: every L1 entry leads to one table."""
    baseline = idle()
    create('a.qcow2', '2T')
    qemu_io('a.qcow2', ['write -P 1 0 64k'])
    data = bytearray(open('a.qcow2', 'rb').read())
    size, offset = struct.unpack_from('>IQ', data, 36)
    data[offset:offset + 8 * size] = data[offset:offset + 8] * size
    with open('a.qcow2', 'wb') as file:
        file.write(data)
    result = good(IMAGO, 'map', '--output=json', 'a.qcow2')
    equal(len(result.out.splitlines()), 2 * size)
    assert sanitized() or result.max_rss - baseline <= MEMORY, result.max_rss - baseline


add_test('4096 L1 entries that share a table', many_entries_one_table)


def count_snapshots(n):
    """An image with @n snapshots, all of the same tables."""
    create('a.qcow2', '1M')
    good('qemu-img', 'snapshot', '-c', 'x', 'a.qcow2')
    data = bytearray(open('a.qcow2', 'rb').read())
    table = struct.unpack_from('>Q', data, 64)[0]
    # The fixed part, 24 bytes of extra data, the id "1", the name "x", and what aligns the next one.
    entry = bytes(data[table:table + 72]).ljust(72, b'\0')
    data += bytes(-len(data) % CLUSTER)
    struct.pack_into('>IQ', data, 60, n, len(data))
    data += entry * n
    with open('a.qcow2', 'wb') as file:
        file.write(data)


def many_snapshots():
    """The most snapshots that QEMU takes, and one more."""
    count_snapshots(65536)
    equal(len(good(IMAGO, 'snapshot', '-l', 'a.qcow2').out.splitlines()), 65538)
    good(IMAGO, 'info', 'a.qcow2')
    equal(imago('inspect', '--output=json', 'a.qcow2').json()['snapshots'], 65536)
    count_snapshots(65537)
    for args in [('snapshot', '-l'), ('info',), ('map',)]:
        equal(imago(*args, 'a.qcow2').status, 1)
    equal(run('qemu-img', 'info', 'a.qcow2').status, 1)


add_test('65536 snapshots, and 65537', many_snapshots)


def large_l1():
    """The largest table that is allowed, in a sparse file."""
    create('a.qcow2', '128G', options='cluster_size=512')
    create('b.qcow2', '2P')
    for name in ['a.qcow2', 'b.qcow2']:
        for args in [('info', name), ('map', '--output=json', name), ('inspect', name)]:
            result = good(IMAGO, *args)
            diagnose('%s: %.3f s, %d KiB' % (' '.join(args), result.seconds, result.max_rss // 1024))


add_test('the largest L1 tables', large_l1)


def report():
    diagnose('worst: %d KiB above a sound image, %.3f s' % (worst['rss'] // 1024, worst['seconds']))


add_test('report', report)

if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
