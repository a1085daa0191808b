# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The images that are read: the same bytes in every run."""

import random
import shutil
from pathlib import Path

from common import GIB, MIB, SEED, TIB, call, say


class Content:
    """Guest data that is the same in every run on a machine: incompressible bytes, text, records, and programs, which are
    the machine's own."""

    def __init__(self):
        self.random = random.Random(SEED)
        self.programs = b"".join(Path(shutil.which(name)).read_bytes() for name in ("qemu-img", "qemu-io", "python3"))
        self.program_at = 0
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

    def _next_programs(self, length):
        at = self.program_at
        self.program_at = (at + length) % len(self.programs)
        return self.programs[at : at + length].ljust(length, b"\0")

    def make(self, kind, length):
        if kind == "random":
            return self.random.randbytes(length)
        if kind == "programs":
            return self._next_programs(length)
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
        self.sparse_data = 64 * MIB if quick else GIB
        self.mix_size = 64 * MIB if quick else 256 * MIB
        self.chain_size = 256 * MIB if quick else GIB

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
        if "sparse" in wanted:
            self._make_sparse()
        if "size" in wanted:
            self._make_mix()
        if wanted & {"commit", "rebase"}:
            self._make_chain()

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
        kinds = ["random", "text", "programs", "hole"] * 3 + ["random"] + ["hole"] * 3
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

    def _make_sparse(self):
        """One run of 1 MiB in each of equal parts, so that every part of the metadata is in use."""
        say(f"sparse: a disk of 1 TiB with {self.sparse_data // MIB} MiB of data, raw and qcow2")
        raw, qcow2 = self.path("sparse.raw"), self.path("sparse.qcow2")
        content = Content()
        runs = self.sparse_data // MIB
        with open(raw, "wb") as file:
            for index in range(runs):
                file.seek(index * (TIB // runs))
                file.write(content.make(("text", "random")[index % 2], MIB))
            file.truncate(TIB)
        call("qemu-img", "convert", "-W", "-m", "16", "-O", "qcow2", raw, qcow2)

    def _make_mix(self):
        """A quarter each of text, programs, records and noise, in clusters of one kind."""
        say(f"mix: {self.mix_size // MIB} MiB of text, programs, records and noise")
        write_raw(self.path("mix.raw"), self.mix_size, ["text", "programs", "records", "random"])

    def _make_chain(self):
        """An overlay that owns a half of what its backing image has, and another image that differs in a quarter."""
        say(f"chain: a disk of {self.chain_size // MIB} MiB with an overlay, and another backing image")
        base, top = self.path("chain-base.qcow2"), self.path("chain-top.qcow2")
        write_raw(self.path("chain-base.raw"), self.chain_size, ["text"] * 4 + ["random"] * 4)
        write_raw(self.path("chain-over.raw"), self.chain_size, ["random", "hole"])
        shutil.copyfile(self.path("chain-base.raw"), self.path("chain-other.raw"))
        records = Content().make("records", 2 * MIB)
        with open(self.path("chain-other.raw"), "r+b") as file:
            for at in range(0, self.chain_size, 8 * MIB):
                file.seek(at)
                file.write(records)
        for name in ("base", "other"):
            raw = self.path(f"chain-{name}.raw")
            call("qemu-img", "convert", "-O", "qcow2", raw, self.path(f"chain-{name}.qcow2"))
            raw.unlink()
        # What no cluster says anything of shows the backing image as soon as there is one.
        call("qemu-img", "convert", "-O", "qcow2", self.path("chain-over.raw"), top)
        call("qemu-img", "rebase", "-u", "-b", base.name, "-F", "qcow2", top)
        call("qemu-img", "convert", "-O", "raw", top, self.path("chain-view.raw"))
        # The copies refer to the copy.
        call("qemu-img", "rebase", "-u", "-b", "work-base.qcow2", "-F", "qcow2", top)

    def fresh_chain(self):
        """Copies of the overlay and of its backing image, to be changed."""
        for name in ("base", "top"):
            path = self.path(f"work-{name}.qcow2")
            path.unlink(missing_ok=True)
            shutil.copyfile(self.path(f"chain-{name}.qcow2"), path)
        call("sync", "-f", self.folder)
