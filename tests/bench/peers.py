# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Peers, groups of peers under one workload, and ratios between them."""

import json
import os
import random
import re
import statistics
import subprocess
import sys

from common import MIB, SEED, STRIDE, call, parse_result, say


class Peer:
    """One program under one workload; measures one value a round."""

    unit = "reads/s"
    larger_is_better = True
    by_processor = False

    def __init__(self, name, command, count=None, checked=True):
        self.name = name
        self.command = [str(word) for word in command]
        self.count = count
        self.checked = checked
        self.values = []
        self.peaks = []
        self.sum = None

    def prepare(self):
        pass

    def finish(self):
        pass

    def measure(self):
        self.prepare()
        run = subprocess.run(self.command, stdout=subprocess.PIPE, check=True, text=True)
        self.values.append(self.value(run.stdout))
        self.finish()

    def value(self, text):
        result = parse_result(text)
        if self.checked:
            self.sum = result["sum"]
        if "peak_kib" in result:
            self.peaks.append(int(result["peak_kib"]))
        clock = "processor" if Peer.by_processor and self.command[0] == "taskset" else "seconds"
        return int(result["requests"]) / float(result[clock])

    def note(self):
        """Something to say below the table, or nothing."""
        return None

    def median(self):
        return statistics.median(self.values)


def make_cold(path):
    """As cold as it gets: a file system in memory keeps it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class ColdPeer(Peer):
    def prepare(self):
        make_cold(self.command[-1])


class FioPeer(Peer):
    """fio with io_uring on the raw file; it tells its own rate."""

    def __init__(self, name, path, depth, count, direct):
        command = ["fio", "--name=random", "--ioengine=io_uring", "--rw=randread", "--bs=4k"]
        command += [f"--iodepth={depth}", f"--number_ios={count}", f"--direct={int(direct)}"]
        command += ["--invalidate=1", "--output-format=json", f"--filename={path}"]
        super().__init__(name, command, count, checked=False)
        self.path = path

    def prepare(self):
        make_cold(self.path)

    def value(self, text):
        return float(json.loads(text[text.index("{"):])["jobs"][0]["read"]["iops"])


class PythonPeer(Peer):
    unit = "MiB/s"

    def __init__(self, name, command, count):
        super().__init__(name, command, count, checked=False)


class TimerPeer(Peer):
    """How late a source of one millisecond is: the value is that of the 999th of a thousand."""

    unit = "µs"
    larger_is_better = False

    def __init__(self, name, command, count):
        super().__init__(name, command, count, checked=False)
        self.others = []

    def value(self, text):
        result = parse_result(text)
        self.others.append((int(result["p50"]), int(result["max"])))
        return float(result["p999"])

    def note(self):
        middle, largest = (statistics.median(values) for values in zip(*self.others))
        return f"{self.name}: late by {middle:.0f} µs in the middle, by {largest:.0f} µs at most (medians of the rounds)"


class OpenPeer(Peer):
    unit = "µs"
    larger_is_better = False

    def value(self, text):
        return 1e6 / super().value(text)


class WritePeer(Peer):
    """Writes; @fresh makes the file anew before each round. There is nothing to sum up."""

    unit = "requests/s"
    fresh = None

    def __init__(self, name, command, count=None):
        super().__init__(name, command, count, checked=False)

    def prepare(self):
        if self.fresh is not None:
            self.fresh(self.command[-1])


class QemuWrites(WritePeer):
    """qemu-img bench -w without a flush; it prints its own time."""

    def __init__(self, path, mode, count, block, stride, depth):
        command = ["qemu-img", "bench", "-w", "-f", "qcow2", "-c", count, "-d", depth, "-s", block]
        command += ["-S", stride, "-i", mode, "-t", "writeback", path]
        super().__init__(f"qemu-img bench -w, {mode}", command, count)

    def value(self, text):
        seconds = float(re.search(r"completed in ([0-9.]+) seconds", text).group(1))
        return self.count / seconds


class QemuBench(Peer):
    """qemu-img bench prints its own time, which excludes start and open."""

    def __init__(self, name, path, mode, depth, count, direct=False):
        command = [
            "qemu-img",
            "bench",
            "-f",
            "qcow2",
            "-c",
            count,
            "-d",
            depth,
            "-s",
            4096,
            "-S",
            STRIDE,
            "-i",
            mode,
            "-t",
            "none" if direct else "writeback",
            path,
        ]
        super().__init__(name, command, count=count, checked=False)

    def value(self, text):
        seconds = float(re.search(r"completed in ([0-9.]+) seconds", text).group(1))
        return self.count / seconds


class Conversion(Peer):
    """A process; its first output is compared with the source by qemu-img, after the clock has stopped."""

    unit = "s"
    larger_is_better = False

    def __init__(self, name, command, output=None, source=None):
        super().__init__(name, command, checked=False)
        self.output = output
        self.source = source
        self.processor = []

    def prepare(self):
        # Freeing the old output belongs to nobody's time, nor does writing what others left dirty.
        if self.output is not None:
            self.output.unlink(missing_ok=True)
            call("sync", "-f", self.output.parent)

    def finish(self):
        if self.source is not None and len(self.values) == 1:
            call("qemu-img", "compare", self.output, self.source)

    def value(self, text):
        result = parse_result(text)
        self.peaks.append(int(result["peak_kib"]))
        self.processor.append(float(result["user"]) + float(result["system"]))
        return float(result["seconds"])

    def note(self):
        return f"{self.name}: {statistics.median(self.processor):.2f} s of processor time"


class Creation(Conversion):
    """A process that makes an image; its first one is checked by qemu-img, after the clock has stopped."""

    def finish(self):
        if len(self.values) == 1:
            call("qemu-img", "check", "-q", "-f", "qcow2", self.output)
        self.output.unlink()


class ChainJob(Conversion):
    """A process that changes a chain of images, which is copied anew each time; what the disk has become is compared
    with @view."""

    def __init__(self, name, command, images, result, view):
        super().__init__(name, command, result, view)
        self.images = images

    def prepare(self):
        self.images.fresh_chain()


class SizePeer(Conversion):
    """How many bytes a process writes; the same each time."""

    unit = "MiB"

    def value(self, text):
        return self.output.stat().st_size / MIB

    def note(self):
        return None


class Ratio:
    """How many times better @ours is than the best of @theirs, in pairs of one round each."""

    def __init__(self, text, ours, theirs, target, strict=False):
        self.text = text
        self.ours = ours
        self.theirs = [peer for peer in theirs if peer is not None]
        self.target = target
        self.strict = strict

    def compute(self):
        better = max if self.ours.larger_is_better else min
        rival = better(self.theirs, key=Peer.median)
        pairs = list(zip(self.ours.values, rival.values))
        values = [a / b if self.ours.larger_is_better else b / a for a, b in pairs]
        return rival, statistics.median(values), min(values), max(values)


class Group:
    def __init__(self, title, peers, ratios, warm=()):
        self.title = title
        self.peers = [peer for peer in peers if peer is not None]
        self.ratios = [ratio for ratio in ratios if ratio.ours and ratio.theirs]
        self.warm = warm
        self.notes = []

    def run(self, rounds):
        say(f"measuring: {self.title}")
        for path in self.warm:
            make_cold(path)  # so that the kernel keeps all of them in pages of the same size, whoever wrote them
            with open(path, "rb", buffering=0) as file:
                while file.read(4 * MIB):
                    pass
        order = random.Random(SEED)
        for _ in range(rounds):
            for peer in order.sample(self.peers, len(self.peers)):
                peer.measure()
        self._check_sums()

    def _check_sums(self):
        sums = {peer.sum for peer in self.peers if peer.sum is not None}
        if len(sums) > 1:
            details = ", ".join(f"{peer.name} {peer.sum}" for peer in self.peers)
            sys.exit(f"{self.title}: the peers did not read the same bytes: {details}")


class TimerGroup(Group):
    """The target is no ratio: so much may be added to what a busy machine does to every loop."""

    MAY_ADD = 5000

    def __init__(self, title, ours, control, warm):
        super().__init__(title, [ours, control], [], warm)

    def run(self, rounds):
        super().run(rounds)
        ours, control = (peer.median() for peer in self.peers)
        word = "reached" if ours <= control + self.MAY_ADD else "MISSED"
        self.notes = [f"p99.9 is {ours:.0f} µs, the control's {control:.0f} µs; at most 5 ms more: {word}"]


class CheckGroup(Group):
    """Both must come to the same verdict; peak memory is the other half of the answer."""

    def __init__(self, ours, theirs, image):
        ratio = Ratio("check of 1 TiB with its metadata / qemu-img", ours, [theirs], 10.0)
        super().__init__("check a disk of 1 TiB with all its metadata", [ours, theirs], [ratio], [])
        self.image = image

    def run(self, rounds):
        super().run(rounds)
        ours, theirs = (max(peer.peaks) / 1024 for peer in self.peers)
        self.notes = [
            f"imago check takes {ours:.1f} MiB at its peak, qemu-img check {theirs:.1f} MiB: {ours / theirs:.2f} times"
        ]

    def _check_sums(self):
        # After the helper that measures, the program itself.
        reports = [
            subprocess.run(peer.command[1:], stdout=subprocess.PIPE, check=True, text=True).stdout
            for peer in self.peers
        ]
        ours, theirs = map(json.loads, reports)
        if ours != theirs:
            sys.exit(f"{self.title}: {ours} is not {theirs}")


class AnswerGroup(Group):
    """Both programs must print the same."""

    def _check_sums(self):
        answers = [
            subprocess.run(peer.command[1:], stdout=subprocess.PIPE, check=True, text=True).stdout
            for peer in self.peers
        ]
        if len(set(answers)) > 1:
            sys.exit(f"{self.title}: the answers differ: {answers}")


class SizeGroup(Group):
    """One round tells it."""

    def run(self, rounds):
        super().run(1)


class OpenGroup(Group):
    """Peak memory is the other half of the answer."""

    def __init__(self, peers, warm):
        super().__init__("open, read the last 4 KiB, close", list(peers.values()), [], warm)
        self.pair = peers["1T"], peers["1G"]

    def run(self, rounds):
        super().run(rounds)
        large, small = self.pair
        more = self._peak(large) - self._peak(small)
        self.notes = [
            f"imago-glib: opening 1 TiB takes {large.median() / small.median():.2f} times as long as 1 GiB; "
            f"a process that opens it once takes {more} KiB more memory (the L1 table: 16 KiB)"
        ]

    @staticmethod
    def _peak(peer):
        """One open in a process of its own: what thousands of them leave in the heap is no part of it."""
        command = [re.sub(r"^--count=.*", "--count=1", word) for word in peer.command]
        runs = [
            subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            for _ in range(3)
        ]
        return min(int(parse_result(text)["peak_kib"]) for text in runs)

    def _check_sums(self):
        """Both disks read as zero: the sums agree and prove nothing."""
