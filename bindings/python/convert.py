#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts a qcow2 disk to raw, showing progress. usage: convert.py DISK.qcow2 OUTPUT.raw"""

import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402

loop = GLib.MainLoop()
status = 0


def opened(_source, result):
    image = Imago.Image.open_finish(result)
    info = image.query_info(None)
    print(f'{info.props.filename}: {info.props.format_name}, {info.props.virtual_size} bytes, '
          f'{info.get_snapshots().get_n_items()} snapshots')
    job = Imago.ConvertJob.new(image, Gio.File.new_for_path(sys.argv[2]))
    job.connect('notify::progress', lambda job, _: print(f'{job.get_progress():.0%}'.replace('%', ' %')))
    job.run_async(GLib.PRIORITY_DEFAULT, None, checked(converted))


def converted(job, result):
    job.run_finish(result)
    loop.quit()


def checked(callback):
    """An exception in a callback would only be printed: end the program instead."""
    def call(*arguments):
        global status
        try:
            callback(*arguments)
        except GLib.Error as error:
            print(error.message, file=sys.stderr)
            status = 1
            loop.quit()
    return call


options = Imago.OpenOptions(format_name='qcow2', reference_policy=Imago.SameDirectoryPolicy.new())
Imago.Image.open_async(Gio.File.new_for_path(sys.argv[1]), options, GLib.PRIORITY_DEFAULT, None, checked(opened))
loop.run()
sys.exit(status)
