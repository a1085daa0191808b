# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Makes sound qcow2 images with qemu-img and breaks one thing in each copy."""

import random
import struct

from imagotest import create, good, qemu_io

OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1

DIRTY = 1 << 0
CORRUPT = 1 << 1


class Image:
    """The bytes of an image, and where its metadata is."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.version = self.get32(4)
        self.cluster_bits = self.get32(20)
        self.cluster = 1 << self.cluster_bits
        self.l1_size = self.get32(36)
        self.l1 = self.get64(40)
        self.reftable = self.get64(48)
        self.reftable_size = self.get32(56) * self.cluster // 8
        self.n_snapshots = self.get32(60)
        self.snapshots = self.get64(64)
        self.order = self.get32(96) if self.version == 3 else 4
        self.incompatible = self.get64(72) if self.version == 3 else 0
        self.extended = bool(self.incompatible & 16)
        self.has_data_file = bool(self.incompatible & 4)
        self.bitmap_directory = self._find_bitmaps()

    def _find_bitmaps(self):
        at = self.get32(100) if self.version == 3 else 72
        while at + 8 <= self.cluster:
            kind, length = self.get32(at), self.get32(at + 4)
            if kind == 0:
                break
            if kind == 0x23852875:
                return self.get64(at + 8 + 16)
            at += 8 + (length + 7) // 8 * 8
        return 0

    def get32(self, offset):
        return struct.unpack_from('>I', self.data, offset)[0]

    def get64(self, offset):
        return struct.unpack_from('>Q', self.data, offset)[0]

    def put32(self, offset, value):
        struct.pack_into('>I', self.data, offset, value & 0xffffffff)

    def put64(self, offset, value):
        struct.pack_into('>Q', self.data, offset, value & 0xffffffffffffffff)

    def n_clusters(self):
        return -(-len(self.data) // self.cluster)

    # ---- places ----

    def l1_places(self):
        return [self.l1 + 8 * i for i in range(self.l1_size)]

    def used_l1_places(self):
        return [at for at in self.l1_places() if self.get64(at)]

    def snapshot_places(self):
        result, at = [], self.snapshots
        for _ in range(self.n_snapshots):
            result.append(at)
            lengths = struct.unpack_from('>HH', self.data, at + 12)
            at += (40 + self.get32(at + 36) + sum(lengths) + 7) // 8 * 8
        return result

    def tables(self):
        """All L2 tables, of snapshots too."""
        tables = {self.get64(at) & OFFSET for at in self.used_l1_places()}
        for at in self.snapshot_places():
            for i in range(self.get32(at + 8)):
                tables.add(self.get64(self.get64(at) + 8 * i) & OFFSET)
        return sorted(tables - {0})

    def l2_places(self):
        step = 16 if self.extended else 8
        return [table + i for table in self.tables() for i in range(0, self.cluster, step)]

    def used_l2_places(self):
        return [at for at in self.l2_places() if self.get64(at)]

    def block_places(self):
        return [self.reftable + 8 * i for i in range(self.reftable_size)]

    def used_block_places(self):
        return [at for at in self.block_places() if self.get64(at)]

    # ---- refcounts ----

    def refcount_place(self, cluster):
        """Offset of the byte, shift, width in bits."""
        width = 1 << self.order
        per_block = self.cluster * 8 // width
        block = self.get64(self.reftable + 8 * (cluster // per_block))
        bit = cluster % per_block * width
        return block and block + bit // 8, bit % 8, width

    def get_refcount(self, cluster):
        at, shift, width = self.refcount_place(cluster)
        if not at:
            return 0
        if width < 8:
            return self.data[at] >> shift & (1 << width) - 1
        return int.from_bytes(self.data[at:at + width // 8], 'big')

    def set_refcount(self, cluster, value):
        at, shift, width = self.refcount_place(cluster)
        if not at:
            return
        value &= (1 << width) - 1
        if width < 8:
            self.data[at] = self.data[at] & ~((1 << width) - 1 << shift) | value << shift
        else:
            self.data[at:at + width // 8] = value.to_bytes(width // 8, 'big')


# ---- what can be broken ----

FAULTS = []


def fault(function):
    FAULTS.append(function)
    return function


def some_cluster(image, rng):
    return rng.randrange(image.n_clusters())


def some_offset(image, rng):
    """Aligned: into the metadata, into data, just past the end, far past the end."""
    cluster = rng.choice([0, 1, some_cluster(image, rng), some_cluster(image, rng), image.n_clusters() - 1,
                          image.n_clusters(), image.n_clusters() + 1, image.n_clusters() + rng.randrange(1 << 20)])
    return cluster << image.cluster_bits


def change(image, rng, places, new):
    """Changes the entry at one of the places; FALSE if there are none."""
    if not places:
        return False
    at = rng.choice(places)
    image.put64(at, new(image.get64(at)))
    return True


@fault
def refcount_higher(image, rng):
    cluster = some_cluster(image, rng)
    image.set_refcount(cluster, image.get_refcount(cluster) + rng.choice([1, 1, 2]))


@fault
def refcount_lower(image, rng):
    clusters = [i for i in range(image.n_clusters()) if image.get_refcount(i)]
    cluster = rng.choice(clusters)
    image.set_refcount(cluster, image.get_refcount(cluster) - 1)


@fault
def refcount_of_nothing(image, rng):
    width = 1 << image.order
    image.set_refcount(rng.randrange(image.cluster * 8 // width), 1)


@fault
def refcount_largest(image, rng):
    image.set_refcount(some_cluster(image, rng), -1)


@fault
def refcounts_of_a_range(image, rng):
    cluster, value = some_cluster(image, rng), rng.randrange(3)
    for i in range(cluster, min(cluster + 8, image.n_clusters())):
        image.set_refcount(i, value)


@fault
def block_missing(image, rng):
    return change(image, rng, image.used_block_places(), lambda old: 0)


@fault
def block_unaligned(image, rng):
    return change(image, rng, image.used_block_places(), lambda old: old + 512 if image.cluster > 512 else old | 1)


@fault
def block_reserved_bits(image, rng):
    return change(image, rng, image.used_block_places(), lambda old: old | 1 << rng.randrange(9))


@fault
def block_elsewhere(image, rng):
    return change(image, rng, image.used_block_places(), lambda old: some_offset(image, rng))


@fault
def block_too_many(image, rng):
    unused = [at for at in image.block_places() if not image.get64(at)]
    return change(image, rng, unused, lambda old: some_offset(image, rng))


@fault
def block_far_outside(image, rng):
    return change(image, rng, image.block_places(), lambda old: 1 << rng.randrange(50, 64))


@fault
def l1_copied(image, rng):
    return change(image, rng, image.used_l1_places(), lambda old: old ^ COPIED)


@fault
def l1_reserved_bits(image, rng):
    return change(image, rng, image.used_l1_places(), lambda old: old | 1 << rng.choice([0, 1, 8, 56, 62]))


@fault
def l1_elsewhere(image, rng):
    return change(image, rng, image.l1_places(), lambda old: some_offset(image, rng) | rng.choice([0, COPIED]))


@fault
def l1_twice(image, rng):
    used = image.used_l1_places()
    return bool(used) and change(image, rng, image.l1_places(), lambda old: image.get64(rng.choice(used)))


@fault
def l1_dropped(image, rng):
    return change(image, rng, image.used_l1_places(), lambda old: 0)


@fault
def l2_copied(image, rng):
    return change(image, rng, image.used_l2_places(), lambda old: old ^ COPIED)


@fault
def l2_reserved_bits(image, rng):
    return change(image, rng, image.used_l2_places(), lambda old: old | 1 << rng.choice([1, 8, 56, 61]))


@fault
def l2_zero_bit(image, rng):
    return change(image, rng, image.used_l2_places(), lambda old: old ^ ZERO)


@fault
def l2_unaligned(image, rng):
    return image.cluster > 512 and change(image, rng, image.used_l2_places(), lambda old: old ^ 512)


@fault
def l2_unaligned_zero(image, rng):
    return image.cluster > 512 and change(image, rng, image.used_l2_places(), lambda old: old ^ 512 | ZERO)


@fault
def l2_elsewhere(image, rng):
    return change(image, rng, image.l2_places(), lambda old: some_offset(image, rng) | rng.choice([0, COPIED]))


@fault
def l2_twice(image, rng):
    used = image.used_l2_places()
    return bool(used) and change(image, rng, image.l2_places(), lambda old: image.get64(rng.choice(used)))


@fault
def l2_dropped(image, rng):
    return change(image, rng, image.used_l2_places(), lambda old: 0)


@fault
def l2_compressed(image, rng):
    return change(image, rng, image.used_l2_places(), lambda old: old ^ COMPRESSED)


@fault
def l2_random(image, rng):
    return change(image, rng, image.l2_places(), lambda old: rng.getrandbits(64))


@fault
def subclusters(image, rng):
    return image.extended and change(image, rng, [at + 8 for at in image.l2_places()], lambda old: rng.getrandbits(64))


@fault
def subclusters_of_nothing(image, rng):
    unused = [at for at in image.l2_places() if not image.get64(at)]
    return image.extended and change(image, rng, [at + 8 for at in unused], lambda old: 1 << rng.randrange(64))


@fault
def l1_size(image, rng):
    image.put32(36, image.l1_size + rng.choice([1, image.cluster // 8, image.cluster // 4]))


@fault
def l1_table_elsewhere(image, rng):
    image.put64(40, rng.randrange(1, image.n_clusters()) << image.cluster_bits)


@fault
def refcount_table_elsewhere(image, rng):
    image.put64(48, rng.randrange(1, image.n_clusters() + 2) << image.cluster_bits)


@fault
def refcount_table_size(image, rng):
    image.put32(56, image.get32(56) + rng.choice([1, 1, 2]))


@fault
def refcount_table_none(image, rng):
    image.put32(56, 0)


@fault
def marks(image, rng):
    if image.version < 3:
        return False
    image.put64(72, image.incompatible | rng.choice([DIRTY, CORRUPT, DIRTY | CORRUPT]))
    return True


@fault
def end_missing(image, rng):
    length = len(image.data)
    del image.data[length - rng.choice([1, image.cluster // 2, image.cluster, 2 * image.cluster, length // 4]):]


@fault
def end_longer(image, rng):
    image.data += bytes(rng.choice([1, image.cluster, 5 * image.cluster]))


@fault
def snapshot_l1_elsewhere(image, rng):
    return change(image, rng, image.snapshot_places(), lambda old: some_offset(image, rng))


@fault
def snapshot_l1_unaligned(image, rng):
    return change(image, rng, image.snapshot_places(), lambda old: old + 8)


@fault
def snapshot_l1_same(image, rng):
    return change(image, rng, image.snapshot_places(), lambda old: image.l1)


@fault
def snapshot_l1_size(image, rng):
    places = image.snapshot_places()
    if places:
        image.put32(rng.choice(places) + 8, rng.choice([0, 1, 64, image.cluster, 1 << 23]))
    return bool(places)


@fault
def snapshot_extra_data(image, rng):
    places = image.snapshot_places()
    if places:
        at = rng.choice(places)
        image.put32(at + 36, 8)
        struct.pack_into('>HH', image.data, at + 12, 1, 1)
    return len(places) == 1


@fault
def snapshots_fewer(image, rng):
    if image.n_snapshots:
        image.put32(60, image.n_snapshots - 1)
    return bool(image.n_snapshots)


@fault
def bitmap_cluster(image, rng):
    if not image.bitmap_directory:
        return False
    table = image.get64(image.bitmap_directory)
    image.put64(table, rng.choice([0, 1, some_cluster(image, rng) << image.cluster_bits]))
    return True


@fault
def bitmap_table(image, rng):
    if not image.bitmap_directory:
        return False
    image.put64(image.bitmap_directory, rng.randrange(1, image.n_clusters()) << image.cluster_bits)
    return True


@fault
def bitmaps_stale(image, rng):
    if not image.bitmap_directory:
        return False
    image.put64(88, image.get64(88) & ~1)
    return True


@fault
def random_metadata(image, rng):
    at = rng.choice([image.l1, image.reftable] + image.tables() + [image.get64(at) for at in image.used_block_places()])
    at += 8 * rng.randrange(image.cluster // 8)
    image.put64(at, rng.getrandbits(64) & rng.getrandbits(64))


# ---- snapshot tables that only a repair of all can mend ----

def set_extra(image, index, length):
    """What lies behind the fixed part becomes extra data, later entries are empty."""
    at = image.snapshot_places()[index]
    image.data += bytes(-len(image.data) % image.cluster)
    image.put32(at + 36, length)
    struct.pack_into('>HH', image.data, at + 12, 1, 1)
    if length < image.cluster:
        image.data[at + 40 + length:at + 42 + length] = b'in'


def snapshot_without_extra(image, index):
    set_extra(image, index, 0)


def snapshot_with_little_extra(image, index):
    set_extra(image, index, 15)


def snapshot_with_most_extra(image, index):
    set_extra(image, index, 1024)


def snapshot_with_too_much_extra(image, index):
    set_extra(image, index, 1025)


def snapshot_beyond_the_table(image, index):
    set_extra(image, index, 64 << 20)


def snapshots_too_many(image, index):
    """In a new place, where nothing but zeroes follows."""
    table = image.data[image.snapshot_places()[0]:image.snapshot_places()[-1] + 256]
    image.data += bytes(-len(image.data) % image.cluster)
    image.put32(60, 65537 + index)
    image.put64(64, len(image.data))
    image.data += table[:(len(table) // 8) * 8] + bytes(65537 * 64)
    image.data += bytes(-len(image.data) % image.cluster)


SNAPSHOT_FAULTS = [snapshot_without_extra, snapshot_with_little_extra, snapshot_with_most_extra,
                   snapshot_with_too_much_extra, snapshot_beyond_the_table, snapshots_too_many]


# ---- sound images ----

def fill(name, size, seed, compressed=True, zeroes=True):
    """Writes, zeroes and compressed writes all over the disk."""
    rng = random.Random(seed)
    units = size // 65536
    commands = []
    for unit in range(units):
        kind = rng.randrange(6 if zeroes else 4)
        at = '%dk %dk' % (unit * 64 + rng.choice([0, 0, 4]), rng.choice([4, 20, 60]))
        if kind < 2:
            commands.append('write -P %d %s' % (rng.randrange(1, 256), at))
        elif kind == 2 and compressed:
            commands.append('write -c -P %d %dk 64k' % (rng.randrange(1, 256), unit * 64))
        elif kind == 4:
            commands.append('write -z %s' % at)
        elif kind == 5:
            commands.append('write -P 7 %dk 64k' % (unit * 64))
            commands.append('write -z %dk 32k' % (unit * 64))
    qemu_io(name, commands)


KINDS = [
    # name, options, size, snapshots, bitmap, compressed
    ('512', 'cluster_size=512', '512k', 1, False, False),
    ('512 1 bit', 'cluster_size=512,refcount_bits=1', '256k', 0, False, False),
    ('512 v2', 'cluster_size=512,compat=0.10', '256k', 1, False, False),
    ('4k', 'cluster_size=4k', '2M', 2, True, True),
    ('4k 2 bits', 'cluster_size=4k,refcount_bits=2', '1M', 1, False, False),
    ('4k 4 bits', 'cluster_size=4k,refcount_bits=4', '1M', 1, False, False),
    ('4k 8 bits', 'cluster_size=4k,refcount_bits=8', '1M', 2, True, True),
    ('4k 64 bits', 'cluster_size=4k,refcount_bits=64', '1M', 1, False, True),
    ('4k v2', 'cluster_size=4k,compat=0.10', '1M', 1, False, True),
    ('4k preallocated', 'cluster_size=4k,preallocation=metadata', '1M', 0, False, False),
    ('4k data file', 'cluster_size=4k,data_file=data.raw', '1M', 0, True, False),
    ('64k', 'cluster_size=64k', '8M', 1, True, True),
    ('64k 32 bits', 'cluster_size=64k,refcount_bits=32,lazy_refcounts=on', '4M', 1, False, True),
    ('64k v2', 'cluster_size=64k,compat=0.10', '4M', 1, False, True),
    ('16k extended', 'cluster_size=16k,extended_l2=on', '2M', 1, True, True),
    ('64k extended', 'cluster_size=64k,extended_l2=on', '4M', 1, False, True),
    ('16k extended data file', 'cluster_size=16k,extended_l2=on,data_file=data.raw', '1M', 0, False, False),
]


def make(kind):
    """The bytes of a sound image of that kind, made in the current folder."""
    name, options, size, n_snapshots, has_bitmap, compressed = kind
    n_bytes = int(size[:-1]) * {'k': 1024, 'M': 1024 ** 2}[size[-1]]
    create('sound.qcow2', size, options=options)
    version2 = 'compat=0.10' in options
    fill('sound.qcow2', n_bytes, name, compressed, not version2)
    for i in range(n_snapshots):
        good('qemu-img', 'snapshot', '-c', 's%d' % i, 'sound.qcow2')
        fill('sound.qcow2', n_bytes // 2, name + str(i), False, not version2)
    if has_bitmap:
        good('qemu-img', 'bitmap', '--add', '-g', '4k', 'sound.qcow2', 'b0')
        qemu_io('sound.qcow2', ['write -P 9 64k 4k'])
    with open('sound.qcow2', 'rb') as file:
        return file.read()


def damage(data, rng, function=None):
    """A copy with one fault, and the fault's name; chooses one that is possible in this image."""
    while True:
        choice = function or rng.choice(FAULTS)
        image = Image(data)
        if choice(image, rng) is not False:
            return bytes(image.data), choice.__name__
