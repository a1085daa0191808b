// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Copies a disk to a raw file, with a progress line; Ctrl-C cancels.
// usage: gjs -m copy.js DISK.qcow2 OUTPUT.raw

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

// The override of these bindings has done this already, where it is installed.
Gio._promisify(Imago.Image, 'open_async', 'open_finish');
Gio._promisify(Imago.Job.prototype, 'run_async', 'run_finish');

const SIGINT = 2;
const output = Gio.UnixOutputStream.new(1, false);

// print () ends the line.
function show(text) {
    output.write_all(new TextEncoder().encode(text), null);
}

function showProgress(job) {
    show(`\r${Math.round(job.progress * 100).toString().padStart(3)} %`);
}

async function copy(source, target, cancellable) {
    const options = new Imago.OpenOptions({
        format_name: 'qcow2',
        reference_policy: Imago.SameDirectoryPolicy.new(),
    });
    const disk = await Imago.Image.open_async(Gio.File.new_for_path(source), options,
        GLib.PRIORITY_DEFAULT, cancellable);
    show(`${source}: ${disk.get_size()} bytes\n`);

    const job = Imago.ConvertJob.new(disk, Gio.File.new_for_path(target));
    job.connect('notify::progress', showProgress);
    showProgress(job);
    await job.run_async(GLib.PRIORITY_DEFAULT, cancellable);
    showProgress(job);
    show('\n');
}

const loop = new GLib.MainLoop(null, false);
const cancellable = new Gio.Cancellable();
let status = 0;
GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, SIGINT, () => {
    cancellable.cancel();
    return GLib.SOURCE_CONTINUE;
});
copy(...System.programArgs, cancellable)
    .catch(error => {
        const cancelled = error.matches?.(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED);
        printerr(cancelled ? '\ncancelled' : error.message);
        status = cancelled ? 130 : 1;
    })
    .finally(() => loop.quit());
loop.run();
System.exit(status);
