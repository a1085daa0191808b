#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the sample disk that ships with the tests, without any disk image program.

    base.qcow2    3 MiB disk: a partition table and a FAT12 file system with two files, zlib clusters
    disk.qcow2    4 MiB overlay on base.qcow2: one file rewritten, one added; zlib, plain and zero
                  clusters, one internal snapshot, one bitmap
    luks.qcow2    4 MiB encrypted overlay on disk.qcow2 without data; the keys that its LUKS header tells of were
                  never made
    samples.json  what a reader must find: sizes and SHA-256 of the guest's view

The layout follows the qcow2 specification (docs/interop/qcow2.txt of QEMU describes it); the sections
named below are those of that text.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import zlib

CLUSTER_BITS = 11
CLUSTER = 1 << CLUSTER_BITS
MIB = 1 << 20
BASE_SIZE = 3 * MIB
DISK_SIZE = 4 * MIB
PARTITION_START = 64 * 512
PARTITION_SIZE = BASE_SIZE - PARTITION_START
FILE_DATE = 0x5821  # 2024-01-01 in FAT's packing

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1


# ---- the guest's disk ----

class Fat12:
    """A FAT12 file system of one cluster size, files in the root directory only."""

    SECTORS_PER_CLUSTER = 4
    FAT_SECTORS = 5
    ROOT_ENTRIES = 64

    def __init__(self, size):
        self.n_sectors = size // 512
        self.root_start = 1 + 2 * self.FAT_SECTORS
        self.data_start = self.root_start + self.ROOT_ENTRIES * 32 // 512
        self.files = []
        self.volume = b'IMAGO DISK '

    def add(self, name, text):
        self.files.append((name, text.encode()))

    def boot_sector(self):
        sector = bytearray(512)
        sector[0:3] = b'\xeb\x3c\x90'
        sector[3:11] = b'IMAGO1.0'
        struct.pack_into('<HBHBHHBHHHII', sector, 11, 512, self.SECTORS_PER_CLUSTER, 1, 2,
                         self.ROOT_ENTRIES, self.n_sectors, 0xf8, self.FAT_SECTORS, 63, 16,
                         PARTITION_START // 512, 0)
        struct.pack_into('<BBBI', sector, 36, 0x80, 0, 0x29, 0x1a60d15c)
        sector[43:54] = self.volume
        sector[54:62] = b'FAT12   '
        sector[510:512] = b'\x55\xaa'
        return bytes(sector)

    def render(self):
        cluster_size = self.SECTORS_PER_CLUSTER * 512
        image = bytearray(self.n_sectors * 512)
        image[0:512] = self.boot_sector()
        table = [0xff8, 0xfff]
        root = bytearray()
        root += struct.pack('<11sBB7xHHHI', self.volume, 0x08, 0, 0, FILE_DATE, 0, 0)
        for name, content in self.files:
            first = len(table)
            n_clusters = -(-len(content) // cluster_size)
            table += [first + i + 1 for i in range(n_clusters - 1)] + [0xfff]
            at = self.data_start * 512 + (first - 2) * cluster_size
            image[at:at + len(content)] = content
            stem, suffix = name.split('.')
            root += struct.pack('<11sBB7xHHHI', f'{stem:8}{suffix:3}'.encode(), 0x20, 0, 0, FILE_DATE,
                                first, len(content))
        packed = bytearray()
        for i in range(0, len(table) + len(table) % 2, 2):
            low = table[i]
            high = table[i + 1] if i + 1 < len(table) else 0
            packed += bytes([low & 0xff, low >> 8 | (high & 0xf) << 4, high >> 4])
        for copy in range(2):
            at = (1 + copy * self.FAT_SECTORS) * 512
            image[at:at + len(packed)] = packed
        image[self.root_start * 512:self.root_start * 512 + len(root)] = root
        return bytes(image)


def partition_table():
    sector = bytearray(512)
    struct.pack_into('<B3sB3sII', sector, 446, 0x80, b'\x01\x01\x00', 0x01, b'\xfe\xff\xff',
                     PARTITION_START // 512, PARTITION_SIZE // 512)
    sector[510:512] = b'\x55\xaa'
    return bytes(sector)


def guest_disk(readme, extra):
    fat = Fat12(PARTITION_SIZE)
    fat.add('NUMBERS.TXT', ''.join(f'{n:4} squared is {n * n:8}\n' for n in range(1, 1201)))
    fat.add('README.TXT', readme)
    for name, text in extra:
        fat.add(name, text)
    return partition_table().ljust(PARTITION_START, b'\0') + fat.render()


README_OLD = 'This disk was made by make-samples.py of imago-glib.\n' + 'It is the state before the upgrade.\n' * 60
README_NEW = 'This disk was made by make-samples.py of imago-glib.\n' + 'It is the state after the upgrade.\n' * 60
NEWS = 'A file that only the overlay has.\n' * 90


# ---- the qcow2 file ----

class Qcow2:
    """A qcow2 version 3 file, written once. Space is handed out upwards and never given back."""

    def __init__(self, size):
        self.size = size
        self.blob = bytearray(CLUSTER)  # the header's cluster
        self.references = {0: 1}
        self.packed_at = 0              # where the next compressed cluster may start; 0: nowhere
        self.extensions = []
        self.backing = b''
        self.snapshots = b''
        self.n_snapshots = 0
        self.crypt_method = 0

    def allocate(self, content):
        at = len(self.blob)
        padded = content.ljust(-(-len(content) // CLUSTER) * CLUSTER, b'\0')
        self.blob += padded
        for cluster in range(at // CLUSTER, len(self.blob) // CLUSTER):
            self.references[cluster] = 0
        return at

    def refer(self, at, length=CLUSTER):
        for cluster in range(at // CLUSTER, (at + length - 1) // CLUSTER + 1):
            self.references[cluster] += 1

    def store_compressed(self, content):
        """Section "Cluster descriptors": the L2 entry of a compressed cluster, or None."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -12)
        packed = packer.compress(content) + packer.flush()
        if len(packed) >= CLUSTER:
            return None
        if not self.packed_at or self.packed_at + len(packed) > len(self.blob):
            self.packed_at = self.allocate(b'\0')
        at = self.packed_at
        self.blob[at:at + len(packed)] = packed
        self.packed_at = at + len(packed)
        if self.packed_at % CLUSTER == 0:
            self.packed_at = 0
        sectors = (at + len(packed) - 1) // 512 - at // 512
        shift = 62 - (CLUSTER_BITS - 8)
        return COMPRESSED | sectors << shift | at

    def store(self, content, compress):
        packed = self.store_compressed(content) if compress else None
        return packed if packed is not None else self.allocate(content)

    def refer_entry(self, entry):
        if entry & COMPRESSED:
            shift = 62 - (CLUSTER_BITS - 8)
            at = entry & ((1 << shift) - 1)
            sectors = entry >> shift & ((1 << (CLUSTER_BITS - 8)) - 1)
            self.refer(at, (at // 512 + sectors + 1) * 512 - at)
        elif entry & ~(COPIED | ZERO):
            self.refer(entry & ~(COPIED | ZERO))

    def add_tables(self, entries):
        """Writes L2 tables and the L1 table for {cluster number: L2 entry}; returns the L1's offset."""
        per_table = CLUSTER // 8
        n_tables = -(-self.size // (per_table * CLUSTER))
        l1 = []
        for number in range(n_tables):
            table = [entries.get(number * per_table + i, 0) for i in range(per_table)]
            if any(table):
                at = self.allocate(struct.pack(f'>{per_table}Q', *table))
                self.refer(at)
                for entry in table:
                    self.refer_entry(entry)
            else:
                at = 0
            l1.append(at)
        at = self.allocate(struct.pack(f'>{n_tables}Q', *l1))
        self.refer(at)
        return at, n_tables

    def set_copied(self, l1_at, n_tables):
        """Sets the COPIED bit wherever the refcount is exactly one, in the active tables."""
        for i in range(n_tables):
            at, = struct.unpack_from('>Q', self.blob, l1_at + 8 * i)
            if not at:
                continue
            if self.references[at // CLUSTER] == 1:
                struct.pack_into('>Q', self.blob, l1_at + 8 * i, at | COPIED)
            for j in range(CLUSTER // 8):
                entry, = struct.unpack_from('>Q', self.blob, at + 8 * j)
                plain = entry & ~ZERO
                if plain and not entry & COMPRESSED and self.references[plain // CLUSTER] == 1:
                    struct.pack_into('>Q', self.blob, at + 8 * j, entry | COPIED)

    def add_snapshot(self, name, date, l1_at, n_tables):
        """Section "Snapshots"; one snapshot is enough here."""
        extra = struct.pack('>QQQ', 0, self.size, 0xffffffffffffffff)
        entry = struct.pack('>QIHHIIQII', l1_at, n_tables, 1, len(name), date, 0, 0, 0, len(extra))
        entry += extra + b'1' + name
        self.snapshots = entry.ljust(-(-len(entry) // 8) * 8, b'\0')
        self.n_snapshots = 1

    def add_bitmap(self, name, granularity_bits):
        """Section "Bitmaps": one bitmap of which every bit is clear, still recording."""
        n_bits = -(-self.size // (1 << granularity_bits))
        n_entries = -(-(-(-n_bits // 8)) // CLUSTER)
        table = self.allocate(bytes(8 * n_entries))
        self.refer(table)
        entry = struct.pack('>QIIBBHI', table, n_entries, 2, 1, granularity_bits, len(name), 0) + name
        entry = entry.ljust(-(-len(entry) // 8) * 8, b'\0')
        directory = self.allocate(entry)
        self.refer(directory)
        self.extensions.append((0x23852875, struct.pack('>IIQQ', 1, 0, len(entry), directory)))

    def add_luks(self):
        """Section "Full disk encryption header pointer"; the fields as in the LUKS On-Disk Format Specification."""
        header = struct.pack('>6sH32s32s32sII20s32sI40s', b'LUKS\xba\xbe', 1, b'aes', b'cbc-essiv:sha256', b'sha512',
                             8 + 504 * 8, 32, bytes(20), bytes(32), 12345, b'5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6c1a90')
        for number in range(8):
            state = (0x00ac71f3, 100000) if number == 1 else (0x0000dead, 0)
            header += struct.pack('>II32sII', *state, bytes(32), 8 + 504 * number, 4000)
        at = self.allocate(header)
        self.refer(at)
        self.crypt_method = 2
        self.extensions.append((0x0537be77, struct.pack('>QQ', at, CLUSTER)))

    def finish(self, l1_at, n_tables, autoclear):
        if self.snapshots:
            snapshots_at = self.allocate(self.snapshots)
            self.refer(snapshots_at)
        else:
            snapshots_at = 0
        table_at = self.allocate(bytes(CLUSTER))
        block_at = self.allocate(bytes(CLUSTER))
        self.refer(table_at)
        self.refer(block_at)
        assert len(self.blob) // CLUSTER <= CLUSTER // 2, 'one refcount block must do'
        struct.pack_into('>Q', self.blob, table_at, block_at)
        for cluster, count in self.references.items():
            struct.pack_into('>H', self.blob, block_at + 2 * cluster, count)
        self.set_copied(l1_at, n_tables)

        header_length = 104
        extensions = b''
        for kind, data in self.extensions + [(0, b'')]:
            extensions += struct.pack('>II', kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b'\0')
        backing_at = header_length + len(extensions) if self.backing else 0
        header = struct.pack('>4sIQIIQIIQQIIQQQQII', b'QFI\xfb', 3, backing_at, len(self.backing),
                             CLUSTER_BITS, self.size, self.crypt_method, n_tables, l1_at, table_at, 1,
                             self.n_snapshots, snapshots_at, 0, 0, autoclear, 4, header_length)
        header += extensions + self.backing
        assert len(header) <= CLUSTER
        self.blob[:len(header)] = header
        return bytes(self.blob)


def clusters_of(disk):
    for number in range(len(disk) // CLUSTER):
        yield number, disk[number * CLUSTER:(number + 1) * CLUSTER]


def make_base(content):
    image = Qcow2(len(content))
    entries = {n: image.store(c, True) for n, c in clusters_of(content) if any(c)}
    l1 = image.add_tables(entries)
    return image.finish(*l1, autoclear=0)


def make_overlay(below, old, new):
    """@old is in the snapshot, @new in the active tables; both without what @below already says."""
    image = Qcow2(len(new))
    image.backing = b'base.qcow2'
    image.extensions.append((0xe2792aca, b'qcow2'))
    before = {n: image.store(c, True) for n, c in clusters_of(old) if c != below[n]}
    # Clusters that the snapshot has too are shared; what was rewritten since is its own.
    after = {}
    for number, cluster in clusters_of(new):
        if number in before and cluster == old[number * CLUSTER:(number + 1) * CLUSTER]:
            after[number] = before[number]
        elif cluster != below[number]:
            after[number] = image.store(cluster, number % 2 == 0) if any(cluster) else ZERO
    after[len(new) // CLUSTER - 1] = ZERO
    snapshot = image.add_tables(before)
    active = image.add_tables(after)
    image.add_snapshot(b'before-upgrade', 1704067200, *snapshot)
    image.add_bitmap(b'since-monday', 16)
    return image.finish(*active, autoclear=1)


def make_encrypted():
    image = Qcow2(DISK_SIZE)
    image.backing = b'disk.qcow2'
    image.extensions.append((0xe2792aca, b'qcow2'))
    image.add_luks()
    return image.finish(*image.add_tables({}), autoclear=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('directory', nargs='?', type=pathlib.Path, default=pathlib.Path(__file__).parent)
    directory = parser.parse_args().directory

    empty = guest_disk(README_OLD, [])
    old = guest_disk(README_OLD, [('OLD.TXT', 'Only the snapshot has this.\n' * 100)]).ljust(DISK_SIZE, b'\0')
    new = guest_disk(README_NEW, [('NEWS.TXT', NEWS)])
    new = new.ljust(DISK_SIZE - MIB // 2, b'\0') + b'Beyond the end of the base.\n'.ljust(MIB // 2, b'\0')
    below = [empty[i:i + CLUSTER].ljust(CLUSTER, b'\0') for i in range(0, DISK_SIZE, CLUSTER)]

    files = {'base.qcow2': make_base(empty), 'disk.qcow2': make_overlay(below, old, new),
             'luks.qcow2': make_encrypted()}
    views = {'base.qcow2': empty, 'disk.qcow2': new, 'disk.qcow2@before-upgrade': old}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    facts = {name: {'size': len(view), 'sha256': hashlib.sha256(view).hexdigest()} for name, view in views.items()}
    (directory / 'samples.json').write_text(json.dumps(facts, indent=2) + '\n')
    for name in files:
        print(f'{directory / name}: {len(files[name])} bytes')


if __name__ == '__main__':
    main()
