#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Sequential reads of 1 MiB from Python, hot: the library beside os.pread of the same bytes.

usage: bench-python.py PLAIN.raw PLAIN.qcow2, with the typelib, the library and bindings/python in
GI_TYPELIB_PATH, LD_LIBRARY_PATH and PYTHONPATH. Five rounds, interleaved; only the ratios mean anything.
"""

import os
import statistics
import sys
import time

import gi

gi.require_version("Imago", "1.0")
from gi.repository import Imago  # noqa: E402

MIB = 1 << 20
ROUNDS = 5


def pread(fd, size):
    for offset in range(0, size, MIB):
        os.pread(fd, MIB, offset)


def read_bytes(disk, size):
    for offset in range(0, size, MIB):
        disk.read_bytes(offset, MIB, None).get_data()


def readinto(disk, size):
    buffer = bytearray(MIB)
    for offset in range(0, size, MIB):
        disk.readinto(offset, buffer)


def rate(read, source, size):
    start = time.perf_counter()
    read(source, size)
    return size / MIB / (time.perf_counter() - start)


def main():
    fd = os.open(sys.argv[1], os.O_RDONLY)
    with Imago.Image.open(sys.argv[2], format_name="qcow2") as disk:
        size = len(disk) // MIB * MIB
        rows = {"os.pread": (pread, fd), "read_bytes": (read_bytes, disk), "readinto": (readinto, disk)}
        for read, source in rows.values():
            read(source, size)
        rates = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, (read, source) in rows.items():
                rates[name].append(rate(read, source, size))
    for name, values in rates.items():
        ratios = [value / plain for value, plain in zip(values, rates["os.pread"])]
        print(
            f"{name:12} {' '.join(f'{value:8.0f}' for value in values)} MiB/s"
            f"   {statistics.median(ratios):.2f} of os.pread ({min(ratios):.2f} to {max(ratios):.2f})"
        )


main()
