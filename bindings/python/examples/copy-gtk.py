#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copies a disk to a raw file in a GTK 4 window with a Cancel button. usage: copy-gtk.py DISK.qcow2 OUTPUT.raw"""

import sys

import gi

gi.require_version('Gtk', '4.0')
gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Gtk, Imago  # noqa: E402


class CopyWindow(Gtk.ApplicationWindow):
    def __init__(self, application, source, target):
        super().__init__(application=application, title='Copy a Disk', default_width=420)
        self.target = Gio.File.new_for_path(target)
        self.cancellable = Gio.Cancellable()
        self.label = Gtk.Label(label=GLib.path_get_basename(source), xalign=0)
        self.bar = Gtk.ProgressBar(show_text=True)
        self.button = Gtk.Button(label='Cancel', halign=Gtk.Align.END)
        self.button.connect('clicked', lambda _: self.cancellable.cancel())
        self.connect('close-request', lambda _: self.cancellable.cancel())
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=12, margin_top=18, margin_bottom=18,
                      margin_start=18, margin_end=18)
        for child in (self.label, self.bar, self.button):
            box.append(child)
        self.set_child(box)
        options = Imago.OpenOptions(format_name='qcow2', reference_policy=Imago.SameDirectoryPolicy.new())
        Imago.Image.open_async(Gio.File.new_for_path(source), options, GLib.PRIORITY_DEFAULT, self.cancellable,
                               self.opened)

    def opened(self, _source, result):
        try:
            image = Imago.Image.open_finish(result)
        except GLib.Error as error:
            self.finish(error.message)
            return
        job = Imago.ConvertJob.new(image, self.target)
        job.connect('notify::progress', lambda job, _: self.bar.set_fraction(job.get_progress()))
        job.run_async(GLib.PRIORITY_DEFAULT, self.cancellable, self.copied)

    def copied(self, job, result):
        try:
            job.run_finish(result)
        except GLib.Error as error:
            cancelled = error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED)
            self.finish('Cancelled' if cancelled else error.message)
        else:
            self.bar.set_fraction(1)
            self.finish('Done')

    def finish(self, text):
        self.label.set_text(text)
        self.button.set_sensitive(False)
        print(text, flush=True)


application = Gtk.Application(flags=Gio.ApplicationFlags.NON_UNIQUE)
application.connect('activate', lambda application: CopyWindow(application, *sys.argv[1:]).present())
sys.exit(application.run(None))
