// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Converts a qcow2 disk to raw, showing progress.
// usage: gjs -m convert.js DISK.qcow2 OUTPUT.raw

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

Gio._promisify(Imago.Image, 'open_async', 'open_finish');
Gio._promisify(Imago.Job.prototype, 'run_async', 'run_finish');

async function convert(source, target) {
    const options = new Imago.OpenOptions({
        format_name: 'qcow2',
        reference_policy: Imago.SameDirectoryPolicy.new(),
    });
    const image = await Imago.Image.open_async(Gio.File.new_for_path(source), options,
        GLib.PRIORITY_DEFAULT, null);
    const info = image.query_info(null);
    print(`${info.filename}: ${info.format_name}, ${info.virtual_size} bytes, ` +
        `${info.snapshots.get_n_items()} snapshots`);

    const job = Imago.ConvertJob.new(image, Gio.File.new_for_path(target));
    job.connect('notify::progress', () => print(`${Math.round(job.progress * 100)} %`));
    await job.run_async(GLib.PRIORITY_DEFAULT, null);
}

const loop = new GLib.MainLoop(null, false);
let status = 0;
convert(...System.programArgs)
    .catch(error => {
        printerr(error.message);
        status = 1;
    })
    .finally(() => loop.quit());
loop.run();
System.exit(status);
