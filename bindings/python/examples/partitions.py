#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shows the partition table of a disk, MBR or GPT. usage: partitions.py DISK.qcow2"""

import struct
import sys
import uuid

import gi

gi.require_version('Imago', '1.0')
from gi.repository import GLib, Imago  # noqa: E402

SECTOR = 512
PROTECTIVE = 0xee  # the one entry of an MBR that stands before a GPT


def mbr_partitions(disk):
    sector = disk[:SECTOR]
    if sector[510:] != b'\x55\xaa':
        return
    for number in range(4):
        kind, start, count = struct.unpack_from('<4xB3xII', sector, 446 + 16 * number)
        if kind != 0:
            yield number + 1, start, count, kind, ''


def gpt_partitions(disk):
    header = disk[SECTOR:2 * SECTOR]
    table, count, size = struct.unpack_from('<QII', header, 72)
    # The disk may lie about itself: no honest table is larger than this.
    if header[:8] != b'EFI PART' or count > 1024 or not 128 <= size <= 4096:
        raise ValueError('the partition table is damaged')
    entries = disk[table * SECTOR:table * SECTOR + count * size]
    if len(entries) != count * size:
        raise ValueError('the partition table lies past the end of the disk')
    for number in range(count):
        kind, first, last, name = struct.unpack_from('<16s16xQQ8x72s', entries, number * size)
        if any(kind):
            name = name.decode('utf-16-le', 'replace').split('\0')[0]
            yield number + 1, first, last - first + 1, uuid.UUID(bytes_le=kind), name


def show(disk):
    partitions = list(mbr_partitions(disk))
    if any(kind == PROTECTIVE for _, _, _, kind, _ in partitions):
        partitions = gpt_partitions(disk)
    for number, start, count, kind, name in partitions:
        kind = f'{kind:02x}' if isinstance(kind, int) else str(kind).upper()
        print(f'{number}: {count * SECTOR} bytes at {start * SECTOR}, type {kind}' + (f', {name}' if name else ''))


try:
    with Imago.Image.open(sys.argv[1], format_name='qcow2',
                          reference_policy=Imago.SameDirectoryPolicy.new()) as disk:
        show(disk)
except (GLib.Error, ValueError) as error:
    sys.exit(getattr(error, 'message', str(error)))
