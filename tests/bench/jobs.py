# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The jobs of the command beside qemu-img: processes, from start to exit."""

from common import say
from peers import AnswerGroup, ChainJob, CheckGroup, Conversion, Creation, Group, Ratio, SizeGroup, SizePeer


class Jobs:
    def __init__(self, programs, images):
        self.programs = programs
        self.images = images

    def _can(self, work):
        """Whether there is a command to measure."""
        if not self.programs.imago.exists():
            say(f"skipping {work}: the command was not built")
        return self.programs.imago.exists()

    def _conversion(self, title, options, source, output, targets, reference=None):
        """Both pairings: durable against sync, and flushed by neither. The output is compared with @reference, or
        with the source. Returns a group."""
        qemu = ["qemu-img", "convert", "-W", "-m", "16", *options, source, output]
        quoted = " ".join(map(str, qemu))
        imago = [self.programs.imago, "convert"]
        ours, ours_unsafe = (
            Conversion(name, self.programs.timed(*imago, *mode, *options, source, output), output, reference or source)
            for name, mode in (("imago convert (durable)", []), ("imago convert -t unsafe", ["-t", "unsafe"]))
        )
        theirs = Conversion(
            "qemu-img convert -W -m 16, sync",
            self.programs.timed("sh", "-c", f"{quoted} && sync {output}"),
            output,
        )
        theirs_unsafe = Conversion("qemu-img convert -W -m 16", self.programs.timed(*qemu), output)
        theirs_plain = Conversion(
            "qemu-img convert", self.programs.timed("qemu-img", "convert", *options, source, output), output
        )
        programs = [ours, theirs, ours_unsafe, theirs_unsafe]
        ratios = [
            Ratio(f"{title}, durable / qemu-img and sync", ours, [theirs], targets[0]),
            Ratio(f"{title}, -t unsafe / qemu-img", ours_unsafe, [theirs_unsafe], targets[0]),
        ]
        if len(targets) > 1:
            programs.append(theirs_plain)
            ratios.append(Ratio(f"{title}, -t unsafe / qemu-img's defaults", ours_unsafe, [theirs_plain], targets[1]))
        return Group(title, programs, ratios, [source])

    def convert(self):
        if not self._can("convert"):
            return
        zlib, zstd = self.images.path("disk.qcow2"), self.images.path("disk-zstd.qcow2")
        raw, plain = self.images.path("disk.raw"), self.images.path("disk-plain.qcow2")
        output = self.images.path("out")
        to_raw, to_qcow2 = ["-O", "raw"], ["-O", "qcow2"]
        zstd_options = ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]
        rows = (
            ("convert qcow2 to raw", to_raw, plain, (1.15,), "raw"),
            ("convert raw to qcow2", to_qcow2, raw, (1.8,), "qcow2"),
            ("convert qcow2 (zlib) to raw", to_raw, zlib, (2.4, 4), "raw"),
            ("convert qcow2 (zstd) to raw", to_raw, zstd, (2.2,), "raw"),
            ("convert raw to qcow2 -c, zlib", [*to_qcow2, "-c"], raw, (8,), "zlib"),
            ("convert raw to qcow2 -c, zstd", zstd_options, raw, (1.7,), "zstd"),
        )
        for title, options, source, targets, bare_target in rows:
            group = self._conversion(title, options, source, output, targets)
            self._add_bare(group, bare_target, source, output)
            if source == plain:
                self._add_cp(group, raw, output)
            yield group
            output.unlink(missing_ok=True)

    def _add_bare(self, group, target, source, output):
        """The least that any program has to do, and how far that is from qemu-img."""
        program = self.programs.bench / "bench-bare-convert"
        if not program.exists():
            say("skipping the bare pipeline: it needs libdeflate, ISA-L and libzstd")
            return
        ours_unsafe, theirs_unsafe = group.peers[2:4]
        bare = Conversion("bare pipeline", self.programs.timed(program, target, source, output), output, source)
        group.peers.append(bare)
        group.ratios += [
            Ratio(f"{group.title}, -t unsafe / bare pipeline", ours_unsafe, [bare], 0.85),
            Ratio(f"{group.title}, bare pipeline itself / qemu-img", bare, [theirs_unsafe], 0.0),
        ]

    def _add_cp(self, group, raw, output):
        """cp on the bytes that the qcow2 file holds."""
        ours, ours_unsafe = group.peers[0], group.peers[2]
        copy = ["cp", "--sparse=always", raw, output]
        command = " ".join(map(str, copy))
        synced = Conversion(
            "cp --sparse=always, sync", self.programs.timed("sh", "-c", f"{command} && sync {output}"), output, raw
        )
        plain = Conversion("cp --sparse=always", self.programs.timed(*copy), output, raw)
        group.peers += [synced, plain]
        group.ratios += [
            Ratio("convert qcow2 to raw, durable / cp --sparse=always and sync", ours, [synced], 1.0),
            Ratio("convert qcow2 to raw, -t unsafe / cp --sparse=always", ours_unsafe, [plain], 1.0),
        ]
        group.warm.append(raw)

    def sparse(self):
        """A disk of 1 TiB that is nearly empty: time follows the data."""
        if not self._can("sparse"):
            return
        raw, qcow2 = self.images.path("sparse.raw"), self.images.path("sparse.qcow2")
        output = self.images.path("out")
        for title, source in (
            ("convert 1 TiB, nearly empty, qcow2 to qcow2", qcow2),
            ("convert 1 TiB, nearly empty, raw to qcow2", raw),
        ):
            options = ["-O", "qcow2"]
            group = self._conversion(title, options, source, output, (1.0,), reference=qcow2)
            group.warm.clear()  # to read 1 TiB of holes takes minutes
            yield group
            output.unlink(missing_ok=True)

    def size(self):
        """What comes out of -c, in bytes: no clock at all."""
        if not self._can("size"):
            return
        source, output = self.images.path("mix.raw"), self.images.path("out")
        for title, options, target in (
            ("size of convert -c, zlib", [], 1 / 1.015),
            ("size of convert -c, zstd", ["-o", "compression_type=zstd"], 1.0),
        ):
            arguments = ["convert", "-c", "-O", "qcow2", *options, source, output]
            ours, theirs = (
                SizePeer(name, [program, *arguments], output, source)
                for name, program in (("imago", self.programs.imago), ("qemu-img", "qemu-img"))
            )
            yield SizeGroup(title, [ours, theirs], [Ratio(f"{title} / qemu-img", ours, [theirs], target)])

    def _chain_job(self, title, command, result, view, target):
        """One command to both programs, each on a fresh copy of the chain. What imago writes is durable always."""
        ours, theirs, theirs_unsafe = (
            ChainJob(name, self.programs.timed(program, *command[:1], *mode, *command[1:]), self.images, result, view)
            for name, program, mode in (
                (f"imago {command[0]}", self.programs.imago, []),
                (f"qemu-img {command[0]}", "qemu-img", []),
                (f"qemu-img {command[0]} -t unsafe", "qemu-img", ["-t", "unsafe"]),
            )
        )
        return Group(
            title,
            [ours, theirs, theirs_unsafe],
            [
                Ratio(f"{title}, both durable / qemu-img", ours, [theirs], target, strict=True),
                Ratio(f"{title}, durable / qemu-img -t unsafe", ours, [theirs_unsafe], 0.0),
            ],
        )

    def commit(self):
        if not self._can("commit"):
            return
        base, top = self.images.path("work-base.qcow2"), self.images.path("work-top.qcow2")
        view = self.images.path("chain-view.raw")
        yield self._chain_job("commit", ["commit", "-f", "qcow2", top], base, view, 1.0)

    def rebase(self):
        if not self._can("rebase"):
            return
        top, view = self.images.path("work-top.qcow2"), self.images.path("chain-view.raw")
        for title, backing in (
            ("rebase to another image", ["-b", self.images.path("chain-other.qcow2"), "-F", "qcow2"]),
            ("rebase to none (flatten)", ["-b", ""]),
        ):
            yield self._chain_job(title, ["rebase", "-f", "qcow2", *backing, top], top, view, 1.0)

    def create(self):
        if not self._can("create"):
            return
        output = self.images.path("created.qcow2")
        rows = (
            ("create of 1 TiB", "preallocation=off", 1.0),
            ("create of 1 TiB with its metadata", "preallocation=metadata", 1.0),
        )
        for title, options, target in rows:
            command = ["create", "-q", "-f", "qcow2", "-o", options, output, "1T"]
            ours, theirs = (
                Creation(name, self.programs.timed(program, *command), output)
                for name, program in (
                    ("imago create", self.programs.imago),
                    ("qemu-img create", "qemu-img"),
                )
            )
            yield Group(title, [ours, theirs], [Ratio(f"{title} / qemu-img", ours, [theirs], target)])

    def check(self):
        if not self._can("check"):
            return
        image = self.images.path("open-1T.qcow2")
        command = ["check", "-f", "qcow2", "--output=json", image]
        ours, theirs = (
            Conversion(name, self.programs.timed(program, *command))
            for name, program in (
                ("imago check", self.programs.imago),
                ("qemu-img check", "qemu-img"),
            )
        )
        yield CheckGroup(ours, theirs, image)

    def _answers(self, title, target, command, warm):
        """One question to both programs."""
        ours, theirs = (
            Conversion(f"{name} {command[0]}", self.programs.timed(program, *command))
            for name, program in (("imago", self.programs.imago), ("qemu-img", "qemu-img"))
        )
        ratios = [Ratio(f"{title} / qemu-img", ours, [theirs], target)]
        return AnswerGroup(title, [ours, theirs], ratios, warm)

    def compare(self):
        if not self._can("compare"):
            return
        rows = (
            ("compare raw and qcow2", "plain.raw", "plain.qcow2"),
            ("compare raw and qcow2 (zlib)", "disk.raw", "disk.qcow2"),
        )
        for title, *names in rows:
            files = [self.images.path(name) for name in names]
            command = ["compare", "-f", "raw", "-F", "qcow2", *files]
            yield self._answers(title, 1.5, command, files)

    def measure(self):
        if not self._can("measure"):
            return
        image = self.images.path("open-1T.qcow2")
        command = ["measure", "-f", "qcow2", "-O", "qcow2", image]
        yield self._answers("measure a disk of 1 TiB with all its metadata", 1.0, command, [])
