// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Shows the partition table of a disk, MBR or GPT.
// usage: partitions DISK.qcow2

const uint64 SECTOR = 512;
const uint8 PROTECTIVE = 0xee; // the one entry of an MBR that stands before a GPT

uint64 number_at (uint8[] data, size_t offset, uint size) {
    uint64 number = 0;
    for (var i = size; i > 0; i--)
        number = number << 8 | data[offset + i - 1];
    return number;
}

// The first three parts of a GUID are little-endian numbers, the rest are bytes.
string guid_at (uint8[] data, size_t offset) {
    var text = new StringBuilder ();
    text.append_printf ("%08X-%04X-%04X-", (uint) number_at (data, offset, 4), (uint) number_at (data, offset + 4, 2),
                        (uint) number_at (data, offset + 6, 2));
    for (var i = 8; i < 16; i++)
        text.append_printf (i == 10 ? "-%02X" : "%02X", data[offset + i]);
    return text.str;
}

string name_at (uint8[] data, size_t offset) {
    var name = new StringBuilder ();
    for (var i = 0; i < 36; i++) {
        var unit = (unichar) number_at (data, offset + 2 * i, 2);
        if (unit == 0)
            break;
        name.append_unichar (unit);
    }
    return name.str;
}

bool show_mbr (uint8[] sector) {
    if (number_at (sector, 510, 2) != 0xaa55)
        return false;
    for (var i = 0; i < 4; i++) {
        if (sector[446 + 16 * i + 4] == PROTECTIVE)
            return true;
    }
    for (var i = 0; i < 4; i++) {
        var entry = 446 + 16 * i;
        if (sector[entry + 4] != 0)
            stdout.printf ("%d: %" + uint64.FORMAT + " bytes at %" + uint64.FORMAT + ", type %02x\n", i + 1,
                           number_at (sector, entry + 12, 4) * SECTOR, number_at (sector, entry + 8, 4) * SECTOR,
                           sector[entry + 4]);
    }
    return false;
}

async void show_gpt (Imago.Image disk) throws Error {
    var header = (yield disk.read_bytes_async (SECTOR, 512, Priority.DEFAULT, null)).get_data ();
    var table = number_at (header, 72, 8);
    var count = (uint) number_at (header, 80, 4);
    var size = (uint) number_at (header, 84, 4);
    // The disk may lie about itself: no honest table is larger than this.
    if (number_at (header, 0, 8) != 0x5452415020494645 || count > 1024 || size < 128 || size > 4096)
        throw new IOError.INVALID_DATA ("the partition table is damaged");
    var entries = (yield disk.read_bytes_async (table * SECTOR, count * size, Priority.DEFAULT, null)).get_data ();
    for (var i = 0; i < count; i++) {
        var entry = i * size;
        var first = number_at (entries, entry + 32, 8);
        var last = number_at (entries, entry + 40, 8);
        if (number_at (entries, entry, 8) == 0 && number_at (entries, entry + 8, 8) == 0)
            continue;
        var name = name_at (entries, entry + 56);
        stdout.printf ("%d: %" + uint64.FORMAT + " bytes at %" + uint64.FORMAT + ", type %s%s%s\n", i + 1,
                       (last - first + 1) * SECTOR, first * SECTOR, guid_at (entries, entry),
                       name == "" ? "" : ", ", name);
    }
}

async void show (string path) throws Error {
    var options = new Imago.OpenOptions () {
        format_name = "qcow2",
        reference_policy = new Imago.SameDirectoryPolicy ()
    };
    var disk = yield Imago.Image.open_async (File.new_for_path (path), options, Priority.DEFAULT, null);
    var sector = (yield disk.read_bytes_async (0, 512, Priority.DEFAULT, null)).get_data ();
    if (show_mbr (sector))
        yield show_gpt (disk);
    yield disk.close_async (Priority.DEFAULT, null);
}

int main (string[] args) {
    var loop = new MainLoop ();
    var status = 0;
    show.begin (args[1], (_, result) => {
        try {
            show.end (result);
        } catch (Error error) {
            stderr.printf ("%s\n", error.message);
            status = 1;
        }
        loop.quit ();
    });
    loop.run ();
    return status;
}
