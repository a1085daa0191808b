#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Makes the inputs that the fuzz targets start from: small qcow2 images, whole, odd and damaged.

make-seeds.py --pack FILE       one file for the standalone runner (fuzz-main.c)
make-seeds.py --folder FOLDER   one file for each input, in a folder for each target, for libFuzzer

Everything is written here from the specification; with --qemu, images that qemu-img makes are added
when it is installed. The shape of an input: fuzz-storage.h, fuzz-qcow2.c, fuzz-write.c and fuzz-chain.c.
"""

import argparse
import gzip
import itertools
import lzma
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

from qcow2image import (
    COMPRESSED,
    COPIED,
    EXT_BACKING_FORMAT,
    EXT_BITMAPS,
    EXT_CRYPTO,
    EXT_FEATURE_NAMES,
    Qcow2,
    Sparse,
    align,
)


# Of operations that write (fuzz-write.c): near the beginning, aligned or not, in all modes.
DETAILS = [
    place | mode << 4 | content
    for place in (0x02, 0x03, 0x07, 0x0A, 0x01)
    for mode in range(4)
    for content in (0, 0x40, 0x80)
]


class Inputs:
    def __init__(self):
        self.entries = []

    def add(self, target, group, name, data):
        self.entries.append((target, group, name.replace(" ", "_"), data))

    def add_qcow2(self, group, name, file, *, settings=bytes(4)):
        """The file with operations on its beginning, its end and places in between."""
        rng = random.Random(name)
        ops = [
            (0, 0x40, 0, 0),
            (1, 0x40, 0, 0),
            (2, 0x40, 4096, 0),
            (2, 0x80, 700, 600),
            (3, 0x59, 1024, 300),
        ]
        ops += [
            (rng.randrange(4), rng.randrange(256), rng.randrange(1 << 14), rng.randrange(1 << 62))
            for _ in range(5)
        ]
        tail = b"".join(struct.pack("<BBHQ", *op) for op in ops)
        self.add("qcow2", group, name, file.encode() + tail + settings + bytes([len(ops)]))
        self.add_write(group, name, file, settings)

    def add_write(self, group, name, file, settings=bytes(4), ops=None):
        """A file to be changed, by default by every operation of fuzz-write.c, most of them near each other."""
        rng = random.Random("write " + name)
        ops = ops or [
            (rng.randrange(8), rng.choice(DETAILS), rng.randrange(1 << 12), rng.randrange(1 << 62))
            for _ in range(40)
        ]
        tail = b"".join(struct.pack("<BBHQ", *op) for op in ops)
        self.add("write", group, name, file.encode() + tail + settings + bytes([len(ops)]))

    def add_chain(self, name, files, *, answers=None, depth=0, probe=0):
        encoded = [file.encode() for file in files]
        table = b"".join(
            struct.pack("<I", len(data))[:3] + bytes([answers[i] if answers else 0, 2, 0x43, 0, 0])
            for i, data in enumerate(encoded)
        )
        self.add(
            "chain",
            "chains",
            name,
            b"".join(encoded) + table + bytes([depth, probe, len(files) - 1]),
        )

    def write_pack(self, path):
        with open(path, "wb") as pack:
            pack.write(b"imago fuzz seeds 1\n")
            for target, group, name, data in self.entries:
                pack.write(f"{target} {group} {name} {len(data)}\n".encode() + data)

    def write_folder(self, folder):
        for target, group, name, data in self.entries:
            path = Path(folder) / target / f"{group}-{name.replace('/', '_')}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


MIX = ["data", "zero", "hole", "zlib", "data", "data", "zlib", "zero-alloc"]
SMALL = [kind for kind in MIX if kind not in ("zero", "zero-alloc")]


def raw_file(data):
    file = Sparse()
    file.put(0, data)
    return file


def add_valid(inputs):
    for bits in range(9, 22):
        inputs.add_qcow2("valid", f"v3 {bits} bits", Qcow2(cluster_bits=bits, clusters=MIX).file)
        inputs.add_qcow2(
            "valid", f"v2 {bits} bits", Qcow2(version=2, cluster_bits=bits, clusters=SMALL).file
        )
    for order in range(7):
        inputs.add_qcow2(
            "valid", f"refcount order {order}", Qcow2(refcount_order=order, clusters=MIX).file
        )
    for bits in (14, 16, 17, 21):
        kinds = ["data", "sub", "zero", "zlib", "hole", "sub", "zero-alloc"]
        inputs.add_qcow2(
            "valid",
            f"extended {bits} bits",
            Qcow2(cluster_bits=bits, extended=True, clusters=kinds).file,
        )
    for size in (0, 1, 511, 512, 513, 1000, 4096 - 512, 100_000):
        inputs.add_qcow2("valid", f"size {size}", Qcow2(size=size, clusters=MIX).file)
    for length in (104, 105, 112, 120, 144):
        inputs.add_qcow2(
            "valid", f"header length {length}", Qcow2(header_length=length, clusters=MIX).file
        )
    for settings in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0", b"\6\0\0\0"):
        inputs.add_qcow2(
            "valid", f"settings {settings[0]}", Qcow2(clusters=MIX * 9).file, settings=settings
        )
    options = {
        "backing": dict(backing="base.img", backing_format="raw"),
        "backing without format": dict(backing="base.img"),
        "backing name of 1023": dict(cluster_bits=12, backing="b" * 1023, backing_format="qcow2"),
        "data file": dict(
            data_file="data.img", clusters=["data", "zero", "hole", "data", "zero-alloc"]
        ),
        "raw data file": dict(
            data_file="data.img", raw_data_file=True, clusters=["data", "data", "zero"]
        ),
        "data file and backing": dict(
            data_file="d", backing="b", clusters=["data", "hole", "zero"]
        ),
        "snapshots": dict(snapshots=3),
        "snapshots v2": dict(version=2, snapshots=2, clusters=SMALL),
        "bitmaps": dict(bitmaps=True),
        "feature names": dict(cluster_bits=12, feature_names=True),
        "unknown extension": dict(extensions=[(0x12345678, b"something"), (0x9ABCDEF0, b"")]),
        "dirty": dict(incompatible=1),
        "corrupt": dict(incompatible=2),
        "lazy": dict(compatible=1),
        "unknown compatible": dict(compatible=1 << 40, autoclear=1 << 50),
        "far": dict(far=1 << 40, clusters=MIX),
        "farther": dict(far=(1 << 55), clusters=["data", "hole"]),
        "far extended": dict(far=1 << 45, cluster_bits=14, extended=True, clusters=["sub", "data"]),
        "large disk": dict(
            cluster_bits=16, size=1 << 40, clusters={0: "data", 9000: "zero", (1 << 24) - 1: "data"}
        ),
        "several tables": dict(
            clusters={0: "data", 63: "zlib", 64: "zlib", 65: "zero", 200: "data"}, size=300 * 512
        ),
    }
    for name, arguments in options.items():
        inputs.add_qcow2("valid", name, Qcow2(**{"clusters": MIX, **arguments}).file)


def add_faults(inputs):
    """Reads and allocations that fail, at each of the first places; the bit 0x80 means all later ones too."""
    file = Qcow2(clusters=MIX * 2, snapshots=1, backing="b", backing_format="raw").file
    for number in range(1, 25):
        inputs.add_qcow2(
            "faults", f"read {number}", file, settings=bytes([number & 1, number, 0, 0])
        )
    tables = Qcow2(
        clusters={i: "zlib" if i % 3 else "data" for i in range(0, 640, 40)}, size=640 * 512
    ).file
    for number in range(3, 20):
        inputs.add_qcow2(
            "faults", f"read {number} of many tables", tables, settings=bytes([1, number, 0, 0])
        )
    for number in range(1, 33):
        inputs.add_qcow2(
            "faults", f"allocation {number}", file, settings=bytes([number & 1, 0, number, 0])
        )
        inputs.add_qcow2(
            "faults",
            f"allocations from {number}",
            file,
            settings=bytes([number & 1, 0, 0x80 | number, 0]),
        )


def luks_header(mode=b"xts-plain64"):
    """As the LUKS On-Disk Format Specification has it; no key was ever made."""
    slots = [
        struct.pack(">II32sII", 0x00AC71F3 if n == 0 else 0x0000DEAD, n == 0, b"", 8 + 504 * n, 4000)
        for n in range(8)
    ]
    fields = [b"LUKS\xba\xbe", 1, b"aes", mode, b"sha256", 4040, 64, b"", b"", 1, b"uuid"]
    return struct.pack(">6sH32s32s32sII20s32sI40s", *fields) + b"".join(slots)


def add_encrypted(inputs):
    """With a header: behind all that is there, in clusters of its own."""
    headers = {
        "sound": luks_header(),
        "unknown mode": luks_header(b"xts-none"),
        "cut off": luks_header()[:591],
    }
    for name, header in headers.items():
        at = align(len(Qcow2(crypt=2, clusters=MIX, extensions=[(EXT_CRYPTO, bytes(16))]).file.flat()), 512)
        place = struct.pack(">QQ", at, 4096)
        file = Qcow2(crypt=2, clusters=MIX, extensions=[(EXT_CRYPTO, place)]).file
        file.put(at, header)
        inputs.add_qcow2("refused", f"luks header, {name}", file)


def add_refused(inputs):
    add_encrypted(inputs)
    inputs.add_qcow2("refused", "encrypted aes", Qcow2(crypt=1, clusters=MIX).file)
    inputs.add_qcow2(
        "refused",
        "encrypted luks",
        Qcow2(crypt=2, clusters=MIX, extensions=[(EXT_CRYPTO, struct.pack(">QQ", 512, 512))]).file,
    )
    inputs.add_qcow2(
        "refused",
        "unknown feature",
        Qcow2(incompatible=1 << 33, clusters=MIX, cluster_bits=12, feature_names=True).file,
    )
    inputs.add_qcow2("refused", "compression type 2", Qcow2(compression=2, clusters=MIX).file)
    inputs.add_qcow2("refused", "raw data bit alone", Qcow2(autoclear=2, clusters=MIX).file)
    inputs.add_qcow2("refused", "empty", raw_file(b""))
    inputs.add_qcow2("refused", "magic only", raw_file(b"QFI\xfb"))
    whole = Qcow2(clusters=MIX).file.flat()
    for length in (4, 8, 71, 72, 103, 104, 111, 112, 511, 512, 1024, len(whole) - 1):
        inputs.add_qcow2("refused", f"cut to {length}", raw_file(whole[:length]))
    inputs.add_qcow2("refused", "not qcow2", raw_file(b"KDMV" + bytes(600)))


HUGE = ("1234567890abcdef", "ffffffffffff0000")


def add_pokes(inputs):
    """Single fields set to the values that made other programs fail."""
    image = Qcow2(
        clusters=MIX * 10, snapshots=2, backing="base.img", backing_format="raw", bitmaps=True
    )
    pokes = [
        (100, "ffffffff"),
        (100, "7fffffff"),
        (100, "00000000"),
        (100, "00000067"),
        (8, "ff" * 8),
        (8, "0000000000000010"),
        (116, "7fffffff"),
        (116, "ffffffff"),
        (56, "ffffffff"),
        (56, "00020001"),
        (56, "00000000"),
        *((48, value) for value in HUGE),
        (60, "ffffffff"),
        (60, "7fffffff"),
        (60, "0000ffff"),
        (60, "00010001"),
        *((64, value) for value in HUGE),
        (36, "ffffffff"),
        (36, "7fffffff"),
        (36, "00000000"),
        (36, "00400001"),
        *((40, value) for value in HUGE),
        (40, "0000000000000201"),
        (16, "ffffffff"),
        (16, "00000400"),
        (20, "00000008"),
        (20, "00000016"),
        (20, "ffffffff"),
        (24, "ff" * 8),
        (24, "7fffffffffffffff"),
        (24, "7fffffffc0000000"),
        (24, "7fffffffc0000001"),
        (32, "00000003"),
        (4, "00000001"),
        (4, "00000004"),
        (96, "00000007"),
        (96, "ffffffff"),
        (104, "01"),
        (104, "ff"),
        (72, "8000000000000000"),
        (72, "0000000000000008"),
        (72, "0000000000000004"),
        (72, "0000000000000010"),
    ]
    for offset, value in pokes:
        inputs.add_qcow2(
            "pokes", f"{value}@{offset}", image.file.poke(offset, bytes.fromhex(value))
        )
    places = {"L1": image.l1_offset, "L2": image.l2_offsets[0], "snapshot": image.snapshot_offset}
    words = [
        "bfffffffffff0000",
        "800000ffffff0000",
        "8000000000000201",
        "8000000000000000",
        "ffffffffffffffff",
        "7fffffffffffffff",
        "4000000000000000",
        "7f00000000000000",
        "0000000000000001",
        "8000000000000001",
        "8000000000000400",
        "0000000000400200",
        "00ffffffffffffff",
        "3f00000000000200",
    ]
    for place, word in itertools.product(places, words):
        inputs.add_qcow2(
            "pokes", f"{place} {word}", image.file.poke(places[place], bytes.fromhex(word))
        )
    for offset, value in (
        (8, "10000000"),
        (8, "00000000"),
        (12, "ffff"),
        (14, "ffff"),
        (36, "00000401"),
        (36, "ffffffff"),
        (48, "ff" * 8),
    ):
        inputs.add_qcow2(
            "pokes",
            f"snapshot+{offset} {value}",
            image.file.poke(image.snapshot_offset + offset, bytes.fromhex(value)),
        )


def add_extensions(inputs):
    """Header extensions and a bitmap directory that contradict themselves."""
    luks = struct.pack(">QQ", 1024, 512)
    images = {
        "twice": dict(extensions=[(EXT_BACKING_FORMAT, b"raw")] * 2, backing="b"),
        "too many": dict(cluster_bits=16, extensions=[(0x1000 + i, b"") for i in range(5000)]),
        "format name too long": dict(extensions=[(EXT_BACKING_FORMAT, b"q" * 40)], backing="b"),
        "format name with NUL": dict(extensions=[(EXT_BACKING_FORMAT, b"ra\0w")], backing="b"),
        "empty format name": dict(extensions=[(EXT_BACKING_FORMAT, b"")], backing="b"),
        "backing name with NUL": dict(backing="b\0c"),
        "backing name that is none": dict(backing="\xff\xfe\x01"),
        "backing json": dict(backing='json:{"driver":"raw"}'),
        "backing protocol": dict(backing="nbd://x/y"),
        "data file name too long": dict(cluster_bits=12, data_file="d" * 1030),
        "data file name with NUL": dict(data_file="d\0"),
        "data file without a name": dict(incompatible=4),
        "luks without header": dict(crypt=2),
        "header without luks": dict(extensions=[(EXT_CRYPTO, luks)]),
        "short luks header": dict(crypt=2, extensions=[(EXT_CRYPTO, luks[:8])]),
        "unaligned luks header": dict(
            crypt=2, extensions=[(EXT_CRYPTO, struct.pack(">QQ", 1025, 512))]
        ),
        "luks header far away": dict(
            crypt=2, extensions=[(EXT_CRYPTO, struct.pack(">QQ", 1 << 62, 1 << 62))]
        ),
        "feature names of odd length": dict(
            cluster_bits=12, extensions=[(EXT_FEATURE_NAMES, b"\0\1name")]
        ),
        "feature with a name": dict(cluster_bits=12, feature_names=True, incompatible=1 << 63),
    }
    for name, data in (
        ("short", b"\0" * 8),
        ("empty", struct.pack(">IIQQ", 0, 0, 0, 0)),
        ("too many", struct.pack(">IIQQ", 65536, 0, 24, 1024)),
        ("reserved", struct.pack(">IIQQ", 1, 1, 24, 1024)),
        ("too large", struct.pack(">IIQQ", 1, 0, 1 << 40, 1024)),
        ("unaligned", struct.pack(">IIQQ", 1, 0, 24, 1025)),
        ("too few", struct.pack(">IIQQ", 2, 0, 32, 1024)),
    ):
        images[f"bitmaps {name}"] = dict(autoclear=1, extensions=[(EXT_BITMAPS, data)])
    for name, arguments in images.items():
        inputs.add_qcow2("extensions", name, Qcow2(**{"clusters": SMALL, **arguments}).file)
    image = Qcow2(clusters=SMALL, bitmaps=True)
    pokes = [
        (0, "ff" * 8),
        (0, "0000000000000201"),
        (8, "00000000"),
        (8, "08000001"),
        (12, "80000000"),
        (12, "00000001"),
        (16, "02"),
        (17, "08"),
        (17, "20"),
        (18, "ffff"),
        (18, "0000"),
        (20, "00000010"),
        (20, "ffffffff"),
        (24, "00"),
    ]
    for offset, value in pokes:
        file = image.file.poke(image.bitmap_directory + offset, bytes.fromhex(value))
        inputs.add_qcow2("extensions", f"bitmap+{offset} {value}", file)


def scatter(bits=9, extended=False):
    """Neighbours on the disk that are none in the file: backwards, then every second one."""
    image = Qcow2(cluster_bits=bits, extended=extended, clusters=["data"] * 16)
    width = image.entry_size
    flat = image.file.flat()
    table = flat[image.l2_offsets[0] :][: 16 * width]
    entries = [table[i * width : (i + 1) * width] for i in range(16)]
    order = [*range(7, -1, -1), 8, 10, 12, 14, 9, 11, 13, 15]
    return image.file.poke(image.l2_offsets[0], b"".join(entries[i] for i in order))


def add_oddities(inputs):
    """Images that are legal or nearly so, and unkind."""
    for bits in (9, 12, 14):
        inputs.add_qcow2("odd", f"scattered {bits} bits", scatter(bits))
    inputs.add_qcow2("odd", "scattered extended", scatter(14, extended=True))
    inputs.add_qcow2("faults", "scattered with failures", scatter(), settings=b"\0\6\0\0")
    for bits in (9, 12, 16, 21):
        inputs.add_qcow2(
            "odd", f"bombs {bits} bits", Qcow2(cluster_bits=bits, clusters=["bomb"] * 6).file
        )
    shared = Qcow2(clusters=["data", "zlib"] * 8, size=4096 * 512)
    l1 = struct.pack(">Q", COPIED | shared.l2_offsets[0]) * (4096 // 64)
    inputs.add_qcow2("odd", "one L2 table for all", shared.file.poke(shared.l1_offset, l1))
    itself = Qcow2(clusters=MIX)
    for name, offset in (("L1", itself.l1_offset), ("header", 0), ("L2", itself.l2_offsets[0])):
        inputs.add_qcow2(
            "odd",
            f"L2 table is the {name}",
            itself.file.poke(itself.l1_offset, struct.pack(">Q", offset)),
        )
    for name, entry in (
        ("past the end", 1 << 50),
        ("at the last byte", (1 << 56) - 512),
        ("header", 0 | COPIED),
    ):
        inputs.add_qcow2("odd", f"data {name}", Qcow2(clusters=[(entry, 0), "data"]).file)
    inputs.add_qcow2(
        "odd",
        "data out of alignment",
        Qcow2(cluster_bits=12, clusters=[(COPIED | 0x1200, 0), "data"]).file,
    )
    for sectors in (0, 1):
        for offset in (0, 511, 3 << 30, (1 << 56) - 1):
            entry = COMPRESSED | sectors << 61 | offset
            inputs.add_qcow2(
                "odd",
                f"stream {sectors} sectors at {offset:x}",
                Qcow2(clusters=[(entry, 0), "zlib"]).file,
            )
    for number in range(16):
        bitmap = random.Random(number).getrandbits(64)
        disjoint = bitmap & ~(bitmap << 32) if number % 2 else bitmap
        entry = (COPIED | 0x40000, disjoint & (1 << 64) - 1)
        inputs.add_qcow2(
            "odd",
            f"subclusters {number}",
            Qcow2(
                cluster_bits=14, extended=True, clusters=[entry, "sub", "hole"], backing="b"
            ).file,
        )
    inputs.add_qcow2(
        "odd",
        "subclusters without host",
        Qcow2(cluster_bits=14, extended=True, clusters=[(0, 0xFF)]).file,
    )
    inputs.add_qcow2(
        "odd", "zero bit in version 2", Qcow2(version=2, clusters=["zero", "data"]).file
    )
    inputs.add_qcow2(
        "odd", "zero bit in extended", Qcow2(cluster_bits=14, extended=True, clusters=[(1, 0)]).file
    )
    inputs.add_qcow2("odd", "damaged stream", damage_stream())
    inputs.add_qcow2(
        "odd", "zstd damaged", Qcow2(compression=1, clusters=["zlib", "data", "zlib"]).file
    )
    inputs.add_qcow2(
        "odd",
        "2 EiB",
        Qcow2(cluster_bits=21, size=1 << 60, clusters={0: "data", (1 << 39) - 1: "data"}).file,
    )
    inputs.add_qcow2("odd", "many snapshots", Qcow2(clusters=["data"], snapshots=60).file)


def damage_stream():
    image = Qcow2(clusters=["zlib", "zlib", "data"])
    flat = image.file.flat()
    entry = struct.unpack_from(">Q", flat, image.l2_offsets[0])[0]
    offset = entry & (1 << 61) - 1
    return image.file.poke(offset + 4, b"\xff\xff\xff\xff")


def add_written(inputs):
    """What writing once went wrong with."""
    grow = (7, 0x06, 0xFFFF, 0)
    # The table was replaced without the entries behind the disk, and its clusters were lost.
    image = Qcow2(clusters=["data"] * 8)
    inputs.add_write(
        "written",
        "L1 behind an empty disk",
        image.file.poke(24, bytes(8)),
        ops=[grow, (1, 0x02, 700, 300)],
    )
    # An entry that no set of clusters has room for.
    file = image.file.poke(image.reftable_offset, struct.pack(">Q", 1 << 57))
    file.extend(1 << 58)
    inputs.add_write("written", "refcount block past 2^56", file)


def add_chains(inputs):
    # The file that a name means is its first byte modulo the number of files.
    name = {0: "\x04" * 3, 1: "A", 2: "B", 3: "C"}
    base = raw_file(b"base" * 300)

    def layer(to, **arguments):
        return Qcow2(
            **{
                "clusters": ["data", "hole", "zero", "hole", "zlib", "hole"],
                "backing": to,
                **arguments,
            }
        ).file

    inputs.add_chain("two raw", [layer(name[1], backing_format="raw"), base])
    inputs.add_chain("two said by the policy", [layer(name[1]), base], answers=[0, 2])
    inputs.add_chain("two without format", [layer(name[1]), base])
    inputs.add_chain("two probed", [layer(name[1]), layer(None)], probe=1)
    inputs.add_chain("two probed raw", [layer(name[1]), base], probe=1)
    inputs.add_chain("denied", [layer(name[1], backing_format="raw"), base], answers=[0, 1])
    inputs.add_chain("itself", [layer("A", backing_format="qcow2")])
    inputs.add_chain(
        "each other", [layer("A", backing_format="qcow2"), layer("B", backing_format="qcow2")]
    )
    four = [
        layer("A", backing_format="qcow2", size=8 * 512),
        layer("B", backing_format="qcow2", size=3 * 512),
        layer("C", backing_format="raw", size=20 * 512),
        base,
    ]
    inputs.add_chain("four", four)
    for depth in (1, 2, 3, 4, 15, 0x12, 0x21, 0x14):
        inputs.add_chain(f"four within {depth:02x}", four, depth=depth)
    inputs.add_chain("itself as raw", [layer("\x04")], answers=[2])
    inputs.add_chain(
        "its own data file", [Qcow2(clusters=["data"] * 3, data_file="\x04").file], answers=[2]
    )
    for name, short in (
        ("qcow2", Qcow2(clusters=["data"] * 3).file),
        ("qcow2 odd", Qcow2(clusters=["data"] * 4, size=1000).file),
        ("raw", raw_file(b"base" * 400)),
        ("raw odd", raw_file(b"b" * 1001)),
    ):
        top = Qcow2(
            clusters={0: "data", 40: "data"},
            size=60 * 512,
            backing="A",
            backing_format=name.split()[0],
        ).file
        inputs.add_chain(f"a hole over the end of {name}", [top, short])
    data = Qcow2(clusters=["data", "hole", "data", "zero"], data_file="A").file
    inputs.add_chain("data file", [data, raw_file(b"data" * 600)])
    inputs.add_chain(
        "data file and backing",
        [
            Qcow2(
                clusters=["data", "hole", "hole", "zero"],
                data_file="A",
                backing="B",
                backing_format="raw",
            ).file,
            raw_file(b"data" * 600),
            base,
        ],
    )
    inputs.add_chain(
        "subclusters over base",
        [
            Qcow2(
                cluster_bits=14,
                extended=True,
                clusters=["sub", "hole", "sub"],
                backing="A",
                backing_format="raw",
            ).file,
            raw_file(b"base" * 9000),
        ],
    )
    sizes = (1, 511, 512, 513, 1024, 1500)
    for size in sizes:
        inputs.add_chain(
            f"base of {size}", [layer("A", backing_format="raw"), raw_file(b"x" * size)]
        )


def add_qemu(inputs):
    """Images as qemu-img writes them, empty and with compressed clusters."""
    options = [
        "",
        "compat=0.10",
        "cluster_size=512",
        "cluster_size=2M",
        "refcount_bits=1",
        "refcount_bits=64",
        "extended_l2=on,cluster_size=16k",
        "lazy_refcounts=on",
        "preallocation=metadata",
        "compression_type=zstd",
        "data_file=data.img",
        "data_file=data.img,data_file_raw=on",
        "backing_file=base,backing_fmt=raw",
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.raw"
        source.write_bytes(
            (b"text " * 2000).ljust(16384, b"\0") + bytes(40000) + random.Random(1).randbytes(9000)
        )
        (Path(folder) / "base").write_bytes(bytes(70000))
        for option in options:
            for compressed in ((), ("-c",)):
                if compressed and ("data_file" in option or "preallocation" in option):
                    continue
                path = Path(folder) / "image.qcow2"
                path.unlink(missing_ok=True)
                command = ["qemu-img", "convert", "-q", *compressed, "-O", "qcow2"]
                # convert takes the backing file as an option of its own.
                if option.startswith("backing_file"):
                    command += ["-B", "base", "-F", "raw"]
                elif option:
                    command += ["-o", option]
                run = subprocess.run(
                    [*command, str(source), str(path)],
                    cwd=folder,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                if run.returncode != 0:
                    print(
                        f"qemu-img could not make {option}: {run.stderr.strip()}", file=sys.stderr
                    )
                    continue
                name = (option or "default") + (" compressed" if compressed else "")
                inputs.add_qcow2("qemu", name, raw_file(path.read_bytes()))


def zstd_frame(blocks):
    """RFC 8878: a frame of raw and run-length blocks; a pair (byte, count) is a run."""
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 0x58)
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        kind, length, data = (0, len(block), block) if isinstance(block, bytes) else (1, block[1], bytes([block[0]]))
        frame += struct.pack("<I", length << 3 | kind << 1 | last)[:3] + data
    return frame


def add_streams(inputs):
    """Disks as they come out of a pipe: one member, several, with what may stand behind, cut and damaged."""
    plain = b"boot" + bytes(3000) + random.Random(3).randbytes(700) + b"\x55\xaa" * 200
    named = gzip.compress(plain, mtime=0)
    wrapped = {
        "gzip": gzip.compress(plain, mtime=0),
        "gzip header": named[:3] + b"\x1c" + named[4:10] + b"\4\0ab\0\0name\0comment\0" + named[10:],
        "gzip with a checked header": named[:3] + b"\2" + named[4:10] + b"\0\0" + named[10:],
        "xz": lzma.compress(plain),
        "xz sha256": lzma.compress(plain, check=lzma.CHECK_SHA256),
        "xz delta": lzma.compress(
            plain, filters=[{"id": lzma.FILTER_DELTA, "dist": 4}, {"id": lzma.FILTER_LZMA2, "preset": 1}]
        ),
        "zstd": zstd_frame([plain[:1000], (0, 70000), plain[1000:]]),
        "zstd skippable": struct.pack("<II", 0x184D2A53, 5) + b"12345" + zstd_frame([plain]),
        "raw": plain,
        "qcow2": Qcow2(clusters=["data"]).file.flat(),
    }
    for number, (name, data) in enumerate(wrapped.items()):
        kind = ["raw", "auto", "gzip", "xz", "zstd"].index(name.split()[0] if name != "qcow2" else "raw")
        for variant, changed in {
            "whole": data,
            "twice": data * 2,
            "padded": data + bytes(512),
            "with something behind": data + b"something",
            "cut": data[: len(data) * 2 // 3],
            "cut by one": data[:-1],
            "damaged": data[:700] + b"\xff" + data[701:],
        }.items():
            for wrapping, pattern in ((1, (0x00, 0x40)), (kind, (0x35, 0x00))):
                inputs.add(
                    "stream", "streams", f"{name} {variant} {wrapping}", changed + bytes([wrapping, *pattern])
                )
    inputs.add("stream", "streams", "empty", bytes([1, 0, 0]))
    bomb = gzip.compress(bytes(3 << 20), mtime=0)
    inputs.add("stream", "streams", "bomb", bomb + bytes([1, 0xF0, 0xC0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack")
    parser.add_argument("--folder")
    parser.add_argument(
        "--qemu", action="store_true", help="add images that qemu-img makes, if it is there"
    )
    options = parser.parse_args()
    inputs = Inputs()
    for add in (
        add_valid,
        add_faults,
        add_refused,
        add_pokes,
        add_extensions,
        add_oddities,
        add_written,
        add_chains,
        add_streams,
    ):
        add(inputs)
    if options.qemu and shutil.which("qemu-img"):
        add_qemu(inputs)
    if options.pack:
        inputs.write_pack(options.pack)
    if options.folder:
        inputs.write_folder(options.folder)


if __name__ == "__main__":
    main()
