#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Sequential reads of 1 MiB from Python, hot.

usage: bench-python.py pread|read-bytes|readinto COUNT FILE, with the typelib, the library and bindings/python in
GI_TYPELIB_PATH, LD_LIBRARY_PATH and PYTHONPATH. As many requests before the clock starts.
"""

import os
import sys
import time

import gi

gi.require_version("Imago", "1.0")
from gi.repository import Imago  # noqa: E402

MIB = 1 << 20


def offsets(count, size):
    return (index % (size // MIB) * MIB for index in range(count))


def pread(path):
    fd = os.open(path, os.O_RDONLY)

    def run(count):
        for offset in offsets(count, os.fstat(fd).st_size):
            os.pread(fd, MIB, offset)

    return run


def read_bytes(path):
    disk = Imago.Image.open(path, format_name="qcow2")

    def run(count):
        for offset in offsets(count, len(disk)):
            disk.read_bytes(offset, MIB, None).get_data()

    return run


def readinto(path):
    disk = Imago.Image.open(path, format_name="qcow2")
    buffer = bytearray(MIB)

    def run(count):
        for offset in offsets(count, len(disk)):
            disk.readinto(offset, buffer)

    return run


def main(call, count, path):
    run = {"pread": pread, "read-bytes": read_bytes, "readinto": readinto}[call](path)
    run(int(count))
    start = time.perf_counter()
    run(int(count))
    print(f"seconds={time.perf_counter() - start:.6f} requests={count}")


main(*sys.argv[1:])
