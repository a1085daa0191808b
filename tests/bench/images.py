# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The images that are read: the same bytes in every run."""

import random

from common import GIB, MIB, SEED, call, say


class Content:
    """Guest data that is the same in every run: incompressible bytes, text, records of a program."""

    def __init__(self):
        self.random = random.Random(SEED)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        weights = [12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
        words = [
            "".join(self.random.choices(letters, weights, k=self.random.randint(2, 11)))
            for _ in range(4000)
        ]
        frequency = [1 / (rank + 3) for rank in range(len(words))]
        text = " ".join(self.random.choices(words, frequency, k=400_000))
        self.text = text.encode()
        records = bytearray()
        for index in range(60_000):
            records += (0x400000 + index * 48 + self.random.randrange(16)).to_bytes(8, "little")
            records += (
                self.random.randrange(1 << 12).to_bytes(4, "little")
                + self.random.randbytes(6)
                + bytes(14)
            )
        self.records = bytes(records)

    def _slices(self, pool, length):
        """Pieces of 4 KiB from anywhere in @pool: no two clusters are equal, all compress alike."""
        pieces = []
        for _ in range(length // 4096):
            start = self.random.randrange(len(pool) - 4096)
            pieces.append(pool[start : start + 4096])
        return b"".join(pieces)

    def make(self, kind, length):
        if kind == "random":
            return self.random.randbytes(length)
        return self._slices(self.text if kind == "text" else self.records, length)


def write_raw(path, size, kinds):
    """@kinds: one word for each MiB in turn; "hole" leaves it unwritten."""
    content = Content()
    with open(path, "wb") as file:
        for index in range(size // MIB):
            kind = kinds[index % len(kinds)]
            if kind != "hole":
                file.seek(index * MIB)
                file.write(content.make(kind, MIB))
        file.truncate(size)


class Images:
    def __init__(self, folder, quick):
        self.folder = folder
        self.size = 256 * MIB if quick else GIB
        self.write_size = 256 * MIB if quick else GIB
        self.zlib_size = 64 * MIB if quick else 256 * MIB
        self.disk_size = 256 * MIB if quick else 2 * GIB

    def path(self, name):
        return self.folder / name

    def make(self, wanted):
        if wanted & {"sync", "async", "sequential", "cold", "python", "compare"}:
            self._make_plain()
        if wanted & {"zlib", "timer"}:
            self._make_zlib()
        if wanted & {"write", "write-async", "threads", "allocate"}:
            self._make_written()
        if wanted & {"open", "check", "measure"}:
            self._make_sizes()
        if wanted & {"convert", "compare"}:
            self._make_disk("convert" in wanted)

    def _make_plain(self):
        say(f"plain: {self.size // MIB} MiB of random bytes, raw and qcow2")
        write_raw(self.path("plain.raw"), self.size, ["random"])
        call("qemu-img", "convert", "-O", "qcow2", self.path("plain.raw"), self.path("plain.qcow2"))

    def _make_written(self):
        say(f"w-*: {self.size // MIB} MiB of random bytes, to be written over")
        write_raw(self.path("w-plain.raw"), self.size, ["random"])
        for name in ("w-plain.qcow2", "w-crate.qcow2", "w-qemu.qcow2"):
            call("qemu-img", "convert", "-O", "qcow2", self.path("w-plain.raw"), self.path(name))

    def fresh(self, path):
        """An empty target of the name that allocating writes begin with."""
        path = self.path(path)
        path.unlink(missing_ok=True)
        if path.suffix == ".raw":
            path.touch()
        elif path.name.startswith("w-over"):
            backing = ["-b", self.path("w-plain.raw").name, "-F", "raw"]
            call("qemu-img", "create", "-q", "-f", "qcow2", *backing, path)
        else:
            call("qemu-img", "create", "-q", "-f", "qcow2", path, self.write_size)
        call("sync", "-f", path.parent)

    def _make_zlib(self):
        say(f"zlib: {self.zlib_size // MIB} MiB of text and records, qcow2 with zlib clusters")
        write_raw(self.path("zlib.raw"), self.zlib_size, ["text", "records"])
        call(
            "qemu-img",
            "convert",
            "-c",
            "-W",
            "-m",
            "16",
            "-O",
            "qcow2",
            self.path("zlib.raw"),
            self.path("zlib.qcow2"),
        )

    def _make_sizes(self):
        say("open: empty disks of 1 GiB and 1 TiB with all their metadata")
        for name, size in (("open-1G.qcow2", "1G"), ("open-1T.qcow2", "1T")):
            call(
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                "preallocation=metadata",
                self.path(name),
                size,
            )

    def _make_disk(self, all_kinds):
        say(f"convert: a disk of {self.disk_size // MIB} MiB (5/8 data), raw and qcow2, plain and compressed")
        kinds = ["random", "text", "text", "hole", "records", "records", "hole", "hole"]
        # Runs of 8 MiB, as files on a disk would give.
        kinds = [kind for kind in kinds for _ in range(8)]
        write_raw(self.path("disk.raw"), self.disk_size, kinds)
        kinds = {"disk.qcow2": ["-c"]}
        if all_kinds:
            kinds["disk-plain.qcow2"] = []
            kinds["disk-zstd.qcow2"] = ["-c", "-o", "compression_type=zstd"]
        for name, options in kinds.items():
            best = ["-W", "-m", "16", "-O", "qcow2"]
            call("qemu-img", "convert", *options, *best, self.path("disk.raw"), self.path(name))
