#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copies a disk to a raw file, with a progress line; Ctrl-C cancels. usage: copy.py DISK.qcow2 OUTPUT.raw"""

import asyncio
import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402


def show(job, *_):
    print(f'\r{job.get_progress() * 100:3.0f} %', end='', flush=True)


async def copy(source, target):
    image = await Imago.Image.open_async(source, format_name='qcow2',
                                         reference_policy=Imago.SameDirectoryPolicy.new())
    async with image as disk:
        print(f'{source}: {len(disk)} bytes')
        job = Imago.ConvertJob.new(disk, Gio.File.new_for_path(target))
        job.connect('notify::progress', show)
        show(job)
        await job.run_async()
        show(job)
        print()


# Ctrl-C cancels the task, and with it the call it waits for; nothing is left under the name of the target.
try:
    Imago.run(copy(*sys.argv[1:]))
except (KeyboardInterrupt, asyncio.CancelledError):
    print('\ncancelled', file=sys.stderr)
    sys.exit(130)
except GLib.Error as error:
    sys.exit(error.message)
