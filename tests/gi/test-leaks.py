#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opens and closes two thousand images from Python, in every way: no descriptor, object or memory is left."""

import gc
import os
import pathlib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import gi  # noqa: E402
import tap  # noqa: E402

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402

N_WARM_UP = 300
N_OPENS = 2000
# A byte for each byte of a small object that is lost in every turn; pages are counted, not bytes.
MAX_GROWTH = 4 << 20
FILE = Gio.File.new_for_path(str(pathlib.Path(tap.source_root()) / 'tests' / 'data' / 'disk.qcow2'))

alive = set()
answers = []


def watch(thing):
    number = len(answers)
    answers.append(None)
    alive.add(number)
    thing.weak_ref(alive.discard, number)
    return thing


def options():
    return watch(Imago.OpenOptions(format_name='qcow2', reference_policy=Imago.SameDirectoryPolicy.new()))


def open_and_close():
    image = watch(Imago.Image.open(FILE, options(), None))
    tap.equal(len(image.read_bytes(0, 4096, None).get_data()), 4096)
    image.close(None)


def open_and_drop():
    watch(Imago.Image.open(FILE, options(), None))


def open_async(cancellable=None):
    context = GLib.MainContext.default()
    results = []
    Imago.Image.open_async(FILE, options(), GLib.PRIORITY_DEFAULT, cancellable, lambda _, result: results.append(result))
    if cancellable is not None:
        cancellable.cancel()
    while not results:
        context.iteration(True)
    try:
        image = watch(Imago.Image.open_finish(results.pop()))
    except GLib.Error as error:
        tap.true(cancellable is not None and error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED), error.message)
        return
    image.close_async(GLib.PRIORITY_DEFAULT, None, lambda _, result: results.append(result))
    while not results:
        context.iteration(True)
    tap.true(image.close_finish(results.pop()), 'closed')


def open_and_cancel():
    open_async(watch(Gio.Cancellable()))


WAYS = [open_and_close, open_and_drop, open_async, open_and_cancel]


def descriptors():
    return len(os.listdir('/proc/self/fd'))


def open_disks():
    count = 0
    for name in os.listdir('/proc/self/fd'):
        try:
            count += os.readlink(f'/proc/self/fd/{name}') == FILE.get_path()
        except FileNotFoundError:
            pass
    return count


def resident():
    return int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def settle():
    """Files are closed by workers, later."""
    for _ in range(10000):
        gc.collect()
        while GLib.MainContext.default().iteration(False):
            pass
        if not alive and open_disks() == 0:
            return
        time.sleep(0.001)
    raise AssertionError(f'{len(alive)} objects and {open_disks()} files are left')


def open_many(count):
    answers.clear()
    for i in range(count):
        WAYS[i % len(WAYS)]()
    settle()
    return descriptors(), resident()


@tap.test
def opens():
    n_before, before = open_many(N_WARM_UP)
    n_after, after = open_many(N_OPENS)
    print(f'# {N_OPENS} opens and closes: {n_after} descriptors; {before} bytes resident before, {after} after')
    tap.equal(n_after, n_before)
    if 'LD_PRELOAD' not in os.environ:  # AddressSanitizer keeps what was freed
        tap.true(after < before + MAX_GROWTH, f'{after - before} bytes more')


tap.main()
