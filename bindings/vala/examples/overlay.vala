// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Makes a disk over a base image that stays as it is, and grows it.
// usage: overlay BASE.qcow2 OVERLAY.qcow2 SIZE

void overlay (string base_name, string name, uint64 size) throws Error {
    var options = new Imago.CreateOptions () {
        format_name = "qcow2",
        backing_file = File.new_for_path (base_name),
        backing_format = "qcow2"
    };
    var disk = new Imago.Image.create (File.new_for_path (name), options, null);
    disk.resize (size, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, null);
    stdout.printf ("%s: %" + uint64.FORMAT + " bytes over %s\n", name, disk.get_size (),
                   disk.query_info (null).get_backing_filename ());
    disk.close (null);
}

int main (string[] args) {
    try {
        overlay (args[1], args[2], uint64.parse (args[3]));
    } catch (Error error) {
        stderr.printf ("%s\n", error.message);
        return 1;
    }
    return 0;
}
