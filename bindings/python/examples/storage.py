#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A storage written in Python: a disk image in a dict of blocks. It is loaded from one file, changed, and saved to
another. usage: storage.py IMAGE.qcow2 OUTPUT.qcow2 TEXT"""

import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402

BLOCK = 4096
ZEROES = bytes(BLOCK)


class BlockStorage(Imago.Storage):
    """Blocks that are missing are zero."""

    def __init__(self, content=b''):
        super().__init__(name='blocks', writable=True)
        self.blocks = {}
        self.size = 0
        self.write(0, content)

    def do_submit(self, request):
        """Answers at once. To answer later keep the request, return True, and answer when you can."""
        operation = request.get_operation()
        offset, length = request.get_offset(), request.get_length()
        if operation == Imago.StorageOperation.READ:
            request.return_bytes(GLib.Bytes.new(self.read(offset, length)))
        elif operation == Imago.StorageOperation.QUERY_SIZE:
            request.return_size(self.size)
        elif operation == Imago.StorageOperation.WRITE:
            self.write(offset, request.dup_bytes().get_data())
            request.return_done()
        elif operation == Imago.StorageOperation.TRUNCATE:
            self.truncate(offset)
            request.return_done()
        elif operation == Imago.StorageOperation.FLUSH:
            request.return_done()  # nothing here outlives the program
        else:
            # The library writes zeroes as bytes then, and leaves space where it is.
            request.return_error(GLib.Error.new_literal(
                Gio.io_error_quark(), f'{operation.value_nick} is not supported', Gio.IOErrorEnum.NOT_SUPPORTED))
        return True

    def pieces(self, offset, length):
        """The blocks of a range: number, where the range begins in it, where it ends."""
        end = offset + length
        while offset < end:
            number, start = divmod(offset, BLOCK)
            stop = min(BLOCK, start + end - offset)
            yield number, start, stop
            offset += stop - start

    def read(self, offset, length):
        return b''.join(self.blocks.get(number, ZEROES)[start:stop]
                        for number, start, stop in self.pieces(offset, length))

    def write(self, offset, data):
        at = 0
        for number, start, stop in self.pieces(offset, len(data)):
            old = self.blocks.get(number, ZEROES)
            self.blocks[number] = old[:start] + bytes(data[at:at + stop - start]) + old[stop:]
            at += stop - start
        self.size = max(self.size, offset + len(data))

    def truncate(self, size):
        """What is cut off must not come back when the storage grows again."""
        number, start = divmod(size, BLOCK)
        self.blocks = {n: block for n, block in self.blocks.items() if n <= number}
        if number in self.blocks:
            self.blocks[number] = self.blocks[number][:start] + ZEROES[start:]
        self.size = size


def main(source, target, text):
    with open(source, 'rb') as file:
        storage = BlockStorage(file.read())
    image = Imago.Image.open_storage(storage, Imago.OpenOptions(format_name='qcow2', writable=True), None)
    image.write_bytes(1000, GLib.Bytes.new(text.encode()), None)
    print(image.read_bytes(1000, len(text.encode()), None).get_data().decode())
    image.close(None)
    with open(target, 'wb') as file:
        file.write(storage.read(0, storage.size))
    print(f'{len(storage.blocks)} blocks')


if __name__ == '__main__':
    main(*sys.argv[1:])
