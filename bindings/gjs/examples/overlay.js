// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Makes a disk over a base image that stays as it is, and grows it.
// usage: gjs -m overlay.js BASE.qcow2 OVERLAY.qcow2 SIZE

import Gio from 'gi://Gio';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

function overlay(base, name, size) {
    const options = new Imago.CreateOptions({
        format_name: 'qcow2',
        backing_file: Gio.File.new_for_path(base),
        backing_format: 'qcow2',
    });
    const disk = Imago.Image.create(Gio.File.new_for_path(name), options, null);
    disk.resize(Number(size), Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, null);
    print(`${name}: ${disk.get_size()} bytes over ${disk.query_info(null).get_backing_filename()}`);
    disk.close(null);
}

try {
    overlay(...System.programArgs);
} catch (error) {
    printerr(error.message);
    System.exit(1);
}
