#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a disk over a base image that stays as it is, and grows it. usage: overlay.py BASE.qcow2 OVERLAY.qcow2 SIZE"""

import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402


def overlay(base, name, size):
    with Imago.Image.create(name, format_name='qcow2', backing_file=Gio.File.new_for_path(base),
                            backing_format='qcow2') as disk:
        disk.resize(size, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE)
        print(f'{name}: {len(disk)} bytes over {disk.query_info().get_backing_filename()}')


try:
    overlay(sys.argv[1], sys.argv[2], int(sys.argv[3]))
except GLib.Error as error:
    sys.exit(error.message)
