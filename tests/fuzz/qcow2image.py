# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Writes small qcow2 images from the specification, whole or odd on request."""

import itertools
import random
import struct
import zlib

COPIED = 1 << 63
COMPRESSED = 1 << 62
MAX_PIECES = 31

EXT_END = 0
EXT_BACKING_FORMAT = 0xE2792ACA
EXT_DATA_FILE = 0x44415441
EXT_CRYPTO = 0x0537BE77
EXT_FEATURE_NAMES = 0x6803F857
EXT_BITMAPS = 0x23852875


def align(value, granularity):
    return -(-value // granularity) * granularity


class Sparse:
    """A file as pieces at offsets."""

    def __init__(self):
        self.pieces = {}
        self.size = 0

    def put(self, offset, data):
        self.pieces[offset] = bytes(data)
        self.size = max(self.size, offset + len(data))

    def extend(self, size):
        self.size = max(self.size, size)

    def flat(self):
        data = bytearray(self.size)
        for offset, piece in self.pieces.items():
            data[offset : offset + len(piece)] = piece
        return data

    def poke(self, offset, data):
        """Overwrites bytes; the file must be small."""
        flat = self.flat()
        flat[offset : offset + len(data)] = data
        poked = Sparse()
        poked.put(0, flat)
        return poked

    def runs(self):
        """The pieces without their long runs of zeroes, and the end of the file."""
        result = []
        for offset, piece in sorted(self.pieces.items()):
            position = 0
            while position < len(piece):
                if piece[position] == 0:
                    rest = piece[position:]
                    position += len(rest) - len(rest.lstrip(b"\0"))
                    continue
                end = piece.find(bytes(48), position)
                end = len(piece) if end < 0 else end
                result.append((offset + position, piece[position:end]))
                position = end
        if not result or result[-1][0] + len(result[-1][1]) < self.size:
            result.append((self.size, b""))
        return result

    def encode(self):
        runs = self.runs()
        if len(runs) > MAX_PIECES or (len(runs) == 1 and runs[0][0] == 0):
            return b"\0" + bytes(self.flat())
        header = b"".join(struct.pack("<QI", offset, len(data)) for offset, data in runs)
        return bytes([len(runs)]) + header + b"".join(data for _, data in runs)


# ---- qcow2 ----


class Qcow2:
    """Writes one image. Each argument is a field of the format or something placed in it."""

    def __init__(
        self,
        *,
        version=3,
        cluster_bits=9,
        refcount_order=4,
        size=None,
        clusters=(),
        extended=False,
        backing=None,
        backing_format=None,
        data_file=None,
        raw_data_file=False,
        compression=0,
        snapshots=0,
        header_length=None,
        extensions=(),
        far=0,
        incompatible=0,
        compatible=0,
        autoclear=0,
        crypt=0,
        bitmaps=False,
        feature_names=False,
    ):
        self.version = version
        self.cluster_size = 1 << cluster_bits
        self.cluster_bits = cluster_bits
        self.refcount_order = refcount_order if version == 3 else 4
        self.extended = extended
        self.entry_size = 16 if extended else 8
        self.entries = self.cluster_size // self.entry_size
        self.clusters = dict(enumerate(clusters)) if not isinstance(clusters, dict) else clusters
        self.size = size if size is not None else max(len(self.clusters), 1) * self.cluster_size
        self.backing = backing
        self.data_file = data_file
        self.compression = compression
        self.n_snapshots = snapshots
        self.far = far
        self.file = Sparse()
        self.next = self.cluster_size
        self.used = [0]
        self.stream_at = 0
        self.l2_offsets = {}
        self.random = random.Random(repr((cluster_bits, sorted(self.clusters.items()), extended)))

        incompatible |= (
            (4 if data_file else 0) | (8 if compression else 0) | (16 if extended else 0)
        )
        autoclear |= (2 if raw_data_file else 0) | (1 if bitmaps else 0)
        self.features = incompatible, compatible, autoclear
        self.crypt = crypt
        self.header_length = header_length or (112 if version == 3 else 72)
        self.extensions = list(extensions)
        if backing_format:
            self.extensions.append((EXT_BACKING_FORMAT, backing_format.encode()))
        if data_file:
            self.extensions.append((EXT_DATA_FILE, data_file.encode()))
        if feature_names:
            names = b"".join(
                struct.pack(">BB46s", kind, bit, b"feature %d.%d" % (kind, bit))
                for kind in range(3)
                for bit in (0, 1, 63)
            )
            self.extensions.append((EXT_FEATURE_NAMES, names))

        self._write_tables()
        if snapshots:
            self._write_snapshots()
        else:
            self.snapshot_offset = 0
        if bitmaps:
            self._write_bitmaps()
        self._write_refcounts()
        self._write_header()

    def allocate(self, n_bytes, near=False):
        if self.far and not near and self.next < self.far:
            self.next = self.far
        offset = self.next
        self.next += align(n_bytes, self.cluster_size)
        self.used += range(offset // self.cluster_size, self.next // self.cluster_size)
        return offset

    def _pattern(self, index):
        """A large cluster is mostly zeroes, so that the input stays small."""
        head = bytes([1 + index % 255]) * 32 + self.random.randbytes(16)
        fill = bytes([index & 0xFF]) * min(self.cluster_size - 96, 1024)
        return (head + fill).ljust(self.cluster_size - 48, b"\0") + head

    def _compress(self, data):
        packer = zlib.compressobj(6, zlib.DEFLATED, -12, 9)
        return packer.compress(data) + packer.flush()

    def _compressed_entry(self, offset, length):
        shift = 62 - (self.cluster_bits - 8)
        sectors = (offset % 512 + length - 1) // 512
        return COMPRESSED | sectors << shift | offset

    def _put_stream(self, stream):
        """Streams share clusters, as QEMU packs them."""
        if (
            not self.stream_at
            or self.stream_at % self.cluster_size + len(stream) > self.cluster_size
        ):
            self.stream_at = self.allocate(len(stream))
        offset = self.stream_at
        self.stream_at += len(stream)
        self.file.put(offset, stream)
        self.file.extend(align(self.stream_at, 512))
        return offset

    def _entry(self, index, kind):
        """The one or two words of an L2 entry; allocates and writes what it points to."""
        if isinstance(kind, tuple):
            return kind
        if kind == "hole":
            return 0, 0
        if kind == "zero":
            return (0, 0xFFFFFFFF << 32) if self.extended else (1, 0)
        if kind == "zlib":
            stream = self._compress(self._pattern(index))
            return self._compressed_entry(self._put_stream(stream), len(stream)), 0
        if kind == "bomb":
            stream = self._compress(bytes(1 << 21))[: self.cluster_size - 1]
            return self._compressed_entry(self._put_stream(stream), len(stream)), 0
        if self.data_file:
            offset = index * self.cluster_size
        else:
            offset = self.allocate(self.cluster_size)
            self.file.put(offset, self._pattern(index))
        if kind == "zero-alloc":
            return (
                (COPIED | offset, 0xFFFFFFFF << 32) if self.extended else (COPIED | offset | 1, 0)
            )
        if kind == "sub":
            return COPIED | offset, 0x0000FF00 << 32 | 0x00FF00FF
        return COPIED | offset, 0xFFFFFFFF

    def _write_l2(self, table, wanted):
        offset = self.allocate(self.cluster_size)
        data = bytearray(self.cluster_size)
        for index, kind in wanted:
            first, second = self._entry(index, kind)
            struct.pack_into(
                ">Q", data, index % self.entries * self.entry_size, first & (1 << 64) - 1
            )
            if self.extended:
                struct.pack_into(">Q", data, index % self.entries * self.entry_size + 8, second)
        self.file.put(offset, data)
        self.l2_offsets[table] = offset
        return offset

    def _write_tables(self):
        n_clusters = -(-self.size // self.cluster_size)
        self.l1_size = max(-(-n_clusters // self.entries), 1)
        self.l1_offset = self.allocate(self.l1_size * 8, near=True)
        l1 = {}
        for table, wanted in itertools.groupby(
            sorted(self.clusters.items()), lambda item: item[0] // self.entries
        ):
            wanted = list(wanted)
            if any(kind != "hole" for _, kind in wanted):
                l1[table] = COPIED | self._write_l2(table, wanted)
        self.l1_entries = l1
        if self.l1_size <= 4096:
            data = bytearray(self.l1_size * 8)
            for table, entry in l1.items():
                struct.pack_into(">Q", data, table * 8, entry)
            self.file.put(self.l1_offset, data)
        else:
            for table, entry in l1.items():
                self.file.put(self.l1_offset + table * 8, struct.pack(">Q", entry))
        self.file.extend(self.l1_offset + align(self.l1_size * 8, self.cluster_size))

    def _write_snapshots(self):
        table = bytearray()
        for index in range(self.n_snapshots):
            l1_offset = self.allocate(self.l1_size * 8, near=True)
            l1 = bytearray(self.l1_size * 8)
            for entry, value in self.l1_entries.items():
                struct.pack_into(">Q", l1, entry * 8, value & ~COPIED)
            self.file.put(l1_offset, l1)
            identity, name = str(index + 1).encode(), f"snapshot {index + 1}".encode()
            extra = struct.pack(">QQQ", 0, self.size, 7 + index) if self.version == 3 else b""
            entry = (
                struct.pack(
                    ">QIHHIIQII",
                    l1_offset,
                    self.l1_size,
                    len(identity),
                    len(name),
                    1_600_000_000 + index,
                    5,
                    6,
                    0,
                    len(extra),
                )
                + extra
                + identity
                + name
            )
            table += entry + bytes(-len(entry) % 8)
        self.snapshot_offset = self.allocate(len(table), near=True)
        self.file.put(self.snapshot_offset, table)

    def _write_bitmaps(self):
        bits = self.allocate(self.cluster_size, near=True)
        self.file.put(bits, b"\x0f" * 16)
        table = self.allocate(8, near=True)
        self.file.put(table, struct.pack(">Q", bits))
        name = b"dirty"
        entry = struct.pack(">QIIBBHI", table, 1, 2, 1, 16, len(name), 0) + name
        entry += bytes(-len(entry) % 8)
        directory = self.bitmap_directory = self.allocate(len(entry), near=True)
        self.file.put(directory, entry)
        self.extensions.append((EXT_BITMAPS, struct.pack(">IIQQ", 1, 0, len(entry), directory)))

    def _write_refcounts(self):
        """Only clusters near the beginning are counted: nobody who reads looks at the others."""
        bits = 1 << self.refcount_order
        per_block = self.cluster_size * 8 // bits
        self.reftable_offset = self.allocate(self.cluster_size, near=True)
        block = self.allocate(self.cluster_size, near=True)
        data = bytearray(self.cluster_size)
        for cluster in self.used:
            if cluster < per_block:
                if bits < 8:
                    data[cluster * bits // 8] |= 1 << cluster * bits % 8
                else:
                    data[(cluster + 1) * bits // 8 - 1] = 1
        self.file.put(block, data)
        self.file.put(self.reftable_offset, struct.pack(">Q", block))
        self.file.extend(block + self.cluster_size)

    def _write_header(self):
        area = b""
        for kind, data in self.extensions:
            area += struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
        area += struct.pack(">II", EXT_END, 0)
        backing = self.backing.encode("latin-1") if self.backing else b""
        backing_offset = self.header_length + len(area) if backing else 0
        header = struct.pack(
            ">4sIQIIQIIQQIIQ",
            b"QFI\xfb",
            self.version,
            backing_offset,
            len(backing),
            self.cluster_bits,
            self.size,
            self.crypt,
            self.l1_size,
            self.l1_offset,
            self.reftable_offset,
            1,
            self.n_snapshots,
            self.snapshot_offset,
        )
        if self.version == 3:
            header += struct.pack(">QQQII", *self.features, self.refcount_order, self.header_length)
            header += bytes([self.compression]) + bytes(7)
        header = header[: self.header_length].ljust(self.header_length, b"\0")
        self.file.put(0, header + area + backing)
