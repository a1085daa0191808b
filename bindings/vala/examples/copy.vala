// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Copies a disk to a raw file, with a progress line; Ctrl-C cancels.
// usage: copy DISK.qcow2 OUTPUT.raw

void show (Imago.Job job) {
    stdout.printf ("\r%3.0f %%", job.progress * 100);
    stdout.flush ();
}

async void copy (string source, string target, Cancellable cancellable) throws Error {
    var options = new Imago.OpenOptions () {
        format_name = "qcow2",
        reference_policy = new Imago.SameDirectoryPolicy ()
    };
    var disk = yield Imago.Image.open_async (File.new_for_path (source), options, Priority.DEFAULT, cancellable);
    stdout.printf ("%s: %" + uint64.FORMAT + " bytes\n", source, disk.get_size ());

    var job = new Imago.ConvertJob (disk, File.new_for_path (target));
    job.notify["progress"].connect (() => show (job));
    show (job);
    yield job.run_async (Priority.DEFAULT, cancellable);
    show (job);
    stdout.printf ("\n");
    yield disk.close_async (Priority.DEFAULT, null);
}

int main (string[] args) {
    var loop = new MainLoop ();
    var cancellable = new Cancellable ();
    var status = 0;
    Unix.signal_add (Posix.Signal.INT, () => {
        cancellable.cancel ();
        return Source.CONTINUE;
    });
    copy.begin (args[1], args[2], cancellable, (_, result) => {
        try {
            copy.end (result);
        } catch (IOError.CANCELLED error) {
            stderr.printf ("\ncancelled\n");
            status = 130;
        } catch (Error error) {
            stderr.printf ("%s\n", error.message);
            status = 1;
        }
        loop.quit ();
    });
    loop.run ();
    return status;
}
