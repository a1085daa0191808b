#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Runs the files inside fuzz inputs through qemu-img convert and imago convert and lists where they differ.

compare-with-qemu.py --imago BUILD/tools/imago FOLDER…

FOLDER holds inputs of the target qcow2 (make-seeds.py --folder, or a corpus of libFuzzer). Both programs
run on the same bytes, with limits of memory and time. What one reads and the other refuses is listed with
the messages, for a person to judge; two results that differ are always a bug of one of them (status 1).
"""

import argparse
import collections
import hashlib
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_FILE = 1 << 43  # more than any file system takes
MAX_DISK = 64 << 20
PIECE_HEADER = 12
OP_SIZE = 12
TAIL = 5


def decode(data):
    """The pieces of the file in an input, as fuzz-storage.c and fuzz-qcow2.c read it."""
    if len(data) >= TAIL:
        room = (len(data) - TAIL) // OP_SIZE
        data = data[: len(data) - TAIL - OP_SIZE * min(data[-1] % 25, room)]
    if not data:
        return []
    n_pieces = min(data[0] % 32, (len(data) - 1) // PIECE_HEADER)
    payload = data[1 + n_pieces * PIECE_HEADER :]
    if n_pieces == 0:
        return [(0, payload)]
    pieces = []
    for index in range(n_pieces):
        offset, length = struct.unpack_from("<QI", data, 1 + index * PIECE_HEADER)
        pieces.append((offset & (1 << 62) - 1, payload[:length]))
        payload = payload[length:]
    return pieces


def is_worth_it(pieces):
    """A file that can be made, of a disk that is read in no time."""
    if not pieces or max(offset + len(data) for offset, data in pieces) > MAX_FILE:
        return False
    header = bytearray(32)
    for offset, data in pieces:
        if offset < len(header):
            header[offset : offset + len(data)] = data[: len(header) - offset]
    return header[:4] == b"QFI\xfb" and struct.unpack_from(">Q", header, 24)[0] <= MAX_DISK


def write_file(path, pieces):
    with open(path, "wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(max(offset + len(data) for offset, data in pieces))


def limit():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))


def convert(command, folder):
    """ "ok" and the hash of the result, "refused" and the message, or "died"."""
    output = folder / "output.raw"
    output.unlink(missing_ok=True)
    run = subprocess.run(
        [*command, "image.qcow2", output.name],
        cwd=folder,
        preexec_fn=limit,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        errors="replace",
    )
    if run.returncode == 0:
        return "ok", hashlib.sha256(output.read_bytes()).hexdigest()
    if run.returncode == 1:
        lines = run.stderr.strip().splitlines()
        return "refused", lines[-1] if lines else "no message"
    return "died", f"status {run.returncode}"


def compare(imago, path, folder):
    pieces = decode(path.read_bytes())
    if not is_worth_it(pieces):
        return None
    write_file(folder / "image.qcow2", pieces)
    theirs = convert(
        ["qemu-img", "convert", "-U", "-t", "unsafe", "-f", "qcow2", "-O", "raw"], folder
    )
    ours = convert([str(imago), "convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw"], folder)
    return ours, theirs


def judge(ours, theirs):
    if ours[0] == "died":
        return "imago died"
    if theirs[0] == "died":
        return "inconclusive: qemu-img died"
    if ours[0] == theirs[0]:
        return "DIFFERENT" if ours[0] == "ok" and ours[1] != theirs[1] else f"same: both {ours[0]}"
    return "only imago reads it" if ours[0] == "ok" else "only qemu-img reads it"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imago", required=True)
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    counts = collections.Counter()
    imago = Path(options.imago).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.folders:
            for path in sorted(Path(folder).iterdir()):
                result = compare(imago, path, Path(scratch))
                if result is None:
                    counts["skipped"] += 1
                    continue
                verdict = judge(*result)
                counts[verdict] += 1
                if not verdict.startswith("same"):
                    print(
                        f"{verdict}: {path}\n    imago: {result[0][1]}\n    qemu:  {result[1][1]}",
                        flush=True,
                    )
    for verdict, count in sorted(counts.items()):
        print(f"{count:7} {verdict}")
    sys.exit(1 if counts["DIFFERENT"] or counts["imago died"] else 0)


if __name__ == "__main__":
    main()
