#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs an example whose disk, once it is open, is read from only when somebody has cancelled: what can be cancelled is
in flight for as long as a test needs. usage: held-example.py EXAMPLE.py ARGUMENT..."""

import runpy
import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402


class HeldStorage(Imago.Storage):
    def __init__(self, file, cancellable):
        super().__init__(name=file.get_path())
        self.content = file.load_bytes(None)[0].get_data()
        self.is_held = False
        self.held = []
        # Not from inside of the handler: the job is still being told.
        cancellable.connect(lambda *_: GLib.idle_add(self.let_go), None)

    def do_submit(self, request):
        if request.get_operation() == Imago.StorageOperation.QUERY_SIZE:
            request.return_size(len(self.content))
        elif self.is_held:
            self.held.append(request)
        else:
            self.answer(request)
        return True

    def answer(self, request):
        offset = request.get_offset()
        request.return_bytes(GLib.Bytes.new(self.content[offset:offset + request.get_length()]))

    def let_go(self):
        self.is_held = False
        while self.held:
            self.answer(self.held.pop())


def open_held(file, options, priority, cancellable, callback):
    storage = HeldStorage(file, cancellable)

    def opened(source, result):
        storage.is_held = True
        callback(source, result)

    Imago.Image.open_storage_async(storage, options, priority, cancellable, opened)


Imago.Image.open_async = staticmethod(open_held)
Imago.Image.open_finish = staticmethod(Imago.Image.open_storage_finish)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
