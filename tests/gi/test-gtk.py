#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the GTK 4 example in a display of its own. usage: test-gtk.py COMMAND...

With IMAGO_SCREENSHOT=FILE.png a picture of the window is kept, to be looked at.
"""

import ctypes
import ctypes.util
import hashlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import gi  # noqa: E402
import tap  # noqa: E402

DATA = pathlib.Path(tap.source_root()) / 'tests' / 'data'
FACTS = json.loads((DATA / 'samples.json').read_text())
COMMAND = sys.argv[1:]
HELD = pathlib.Path(tap.source_root()) / 'tests' / 'gi' / 'held-example.py'


class Display:
    """An X server that chooses its own number."""

    def __enter__(self):
        for program in ('Xvfb', 'import', 'convert'):
            if not shutil.which(program):
                tap.skip(f'{program} missing')
        if ('Gtk', '4.0') not in [('Gtk', v) for v in gi.Repository.get_default().enumerate_versions('Gtk')]:
            tap.skip('the typelib of GTK 4 missing')
        read, write = os.pipe()
        self.server = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', '800x600x24', '-nolisten',
                                        'tcp'], env=tap.plain_environment(), pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as numbers:
            self.name = ':' + numbers.readline().strip()
        tap.true(self.name != ':', 'the X server runs')
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()

    def environment(self):
        # GTK's own warnings (no accessibility bus, no settings) are not what is tested.
        return dict(os.environ, DISPLAY=self.name, GDK_BACKEND='x11', GSK_RENDERER='cairo', G_DEBUG='',
                    LIBGL_ALWAYS_SOFTWARE='1', GTK_A11Y='none', NO_AT_BRIDGE='1')

    def colours(self, picture):
        """Takes a picture of the screen and returns how many colours are in it."""
        subprocess.run(['import', '-window', 'root', picture], env=dict(tap.plain_environment(), DISPLAY=self.name), check=True)
        return int(subprocess.run(['convert', picture, '-format', '%k', 'info:'], capture_output=True, text=True,
                                  env=tap.plain_environment(), check=True).stdout)


class Mouse:
    """A hand on the mouse of a display."""

    def __init__(self, display):
        names = [ctypes.util.find_library(name) for name in ('X11', 'Xtst')]
        if not all(names):
            tap.skip('the library for X test events missing')
        self.x11, self.xtst = (ctypes.CDLL(name) for name in names)
        self.x11.XOpenDisplay.restype = ctypes.c_void_p
        self.connection = ctypes.c_void_p(self.x11.XOpenDisplay(display.name.encode()))

    def click(self, x, y):
        self.xtst.XTestFakeMotionEvent(self.connection, -1, x, y, ctypes.c_ulong(0))
        for is_down in (1, 0):
            self.xtst.XTestFakeButtonEvent(self.connection, 1, is_down, ctypes.c_ulong(0))
        self.x11.XSync(self.connection, 0)


@tap.test
def copies_in_a_window():
    with Display() as display, tempfile.TemporaryDirectory(prefix='imago-gtk-') as folder:
        folder = pathlib.Path(folder)
        output = folder / 'disk.raw'
        picture = os.environ.get('IMAGO_SCREENSHOT', folder / 'window.png')
        tap.equal(display.colours(picture), 1, 'colours of the empty screen')
        with subprocess.Popen([*COMMAND, str(DATA / 'disk.qcow2'), str(output)], env=display.environment(),
                              stdout=subprocess.PIPE, text=True) as program:
            try:
                tap.equal(program.stdout.readline(), 'Done\n')
                tap.equal(hashlib.sha256(output.read_bytes()).hexdigest(), FACTS['disk.qcow2']['sha256'])
                # The window may be drawn a little later than the copy is done.
                while display.colours(picture) < 10:
                    tap.equal(program.poll(), None, 'the program runs')
            finally:
                program.terminate()


@tap.test
def is_cancelled_by_its_button():
    with Display() as display, tempfile.TemporaryDirectory(prefix='imago-gtk-') as folder:
        mouse = Mouse(display)
        picture = pathlib.Path(folder) / 'window.png'
        with subprocess.Popen([COMMAND[0], HELD, *COMMAND[1:], str(DATA / 'base.qcow2'), f'{folder}/disk.raw'],
                              stdout=subprocess.PIPE, env=display.environment(), text=True) as program:
            try:
                while display.colours(picture) < 10:
                    tap.equal(program.poll(), None, 'the program runs')
                # Somewhere at the right, below the title with its button that closes the window.
                y = 60
                while not select.select([program.stdout], [], [], 0.1)[0]:
                    tap.equal(program.poll(), None, 'the program runs')
                    mouse.click(370, y)
                    y = y + 8 if y < 260 else 60
                tap.equal(program.stdout.readline(), 'Cancelled\n')
                tap.true(display.colours(picture) >= 10, 'the window is still there')
                tap.equal(program.poll(), None, 'the program runs')
                picture.unlink()
                tap.equal(os.listdir(folder), [])
            finally:
                program.terminate()


@tap.test
def says_what_is_wrong():
    with Display() as display, tempfile.TemporaryDirectory(prefix='imago-gtk-') as folder:
        with subprocess.Popen([*COMMAND, '/nonexistent/disk.qcow2', f'{folder}/disk.raw'], stdout=subprocess.PIPE,
                              env=display.environment(), text=True) as program:
            try:
                line = program.stdout.readline()
                tap.true('disk.qcow2' in line, line)
                tap.equal(os.listdir(folder), [])
            finally:
                program.terminate()


tap.main()
