// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Converts a qcow2 disk to raw, showing progress.
// usage: convert DISK.qcow2 OUTPUT.raw

async void convert (File source, File target) throws Error {
    var options = new Imago.OpenOptions () {
        format_name = "qcow2",
        reference_policy = new Imago.SameDirectoryPolicy ()
    };
    var image = yield Imago.Image.open_async (source, options, Priority.DEFAULT, null);
    var info = image.query_info ();
    stdout.printf ("%s: %s, %" + uint64.FORMAT + " bytes, %u snapshots\n", info.filename, info.format_name,
                   info.virtual_size, info.snapshots.get_n_items ());

    var job = new Imago.ConvertJob (image, target);
    job.notify["progress"].connect (() => stdout.printf ("%.0f %%\n", job.progress * 100));
    yield job.run_async (Priority.DEFAULT, null);
}

int main (string[] args) {
    var loop = new MainLoop ();
    var status = 0;
    convert.begin (File.new_for_path (args[1]), File.new_for_path (args[2]), (_, result) => {
        try {
            convert.end (result);
        } catch (Error error) {
            stderr.printf ("%s\n", error.message);
            status = 1;
        }
        loop.quit ();
    });
    loop.run ();
    return status;
}
