// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Opens, maps, reads and converts from Vala; the async calls with yield.

const uint64 SIZE = 4 << 20;

File sample () {
    return File.new_for_path (Environment.get_variable ("IMAGO_SOURCE_ROOT") + "/tests/data/disk.qcow2");
}

// The digest that samples.json states for the sample disk.
string wanted_digest () throws Error {
    string facts;
    FileUtils.get_contents (Environment.get_variable ("IMAGO_SOURCE_ROOT") + "/tests/data/samples.json", out facts);
    MatchInfo match;
    assert (new Regex ("\"disk.qcow2\": {[^}]*\"sha256\": \"([0-9a-f]{64})\"").match (facts, 0, out match));
    return match.fetch (1);
}

Imago.OpenOptions options () {
    return new Imago.OpenOptions () {
        format_name = "qcow2",
        reference_policy = new Imago.SameDirectoryPolicy ()
    };
}

void test_open () {
    try {
        var image = new Imago.Image.open (sample (), options ());
        assert (image.size == SIZE);
        assert (image.get_format ().get_name () == "qcow2");
        assert (image.dup_backing ().dup_backing () == null);
        var checksum = new Checksum (ChecksumType.SHA256);
        for (uint64 offset = 0; offset < SIZE; offset += 1 << 20)
            checksum.update (image.read_bytes (offset, 1 << 20).get_data (), 1 << 20);
        assert (checksum.get_string () == wanted_digest ());
        var info = image.query_info ();
        assert (info.cluster_size == 2048);
        assert (info.snapshots.get_n_items () == 1);
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

void test_map () {
    try {
        var image = new Imago.Image.open (sample (), options ());
        var extents = image.map_extents (0, SIZE, 1000, Imago.MapFlags.NONE);
        uint64 position = 0;
        for (var i = 0; i < extents.get_n (); i++) {
            unowned var extent = extents.get (i);
            assert (extent.get_offset () == position);
            position += extent.get_length ();
        }
        assert (position == SIZE);
        var last = image.map (SIZE - 2048, 2048, Imago.MapFlags.NONE);
        assert (last.get_kind () == Imago.ExtentKind.ZERO);
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

void test_error () {
    try {
        new Imago.Image.open (sample (), new Imago.OpenOptions () { format_name = "qcow2" });
        assert_not_reached ();
    } catch (Imago.Error.REFERENCE_DENIED error) {
        assert (error.message.contains ("base.qcow2"));
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

async void read_and_convert (string folder) throws Error {
    var image = yield Imago.Image.open_async (sample (), options (), Priority.DEFAULT, null);
    var bytes = yield image.read_bytes_async (0x380000, 6, Priority.DEFAULT, null);
    assert (Memory.cmp (bytes.get_data (), "Beyond".data, 6) == 0);
    var extent = yield image.map_async (0, SIZE, Imago.MapFlags.NONE, Priority.DEFAULT, null);
    assert (extent.get_kind () == Imago.ExtentKind.COMPRESSED);

    var target = File.new_for_path (folder + "/disk.raw");
    var job = new Imago.ConvertJob (image, target);
    var last = 0.0;
    job.notify["progress"].connect (() => {
        assert (job.progress >= last);
        last = job.progress;
    });
    yield job.run_async (Priority.DEFAULT, null);
    assert (last == 1.0);
    uint8[] content;
    FileUtils.get_data (folder + "/disk.raw", out content);
    assert (Checksum.compute_for_data (ChecksumType.SHA256, content) == wanted_digest ());
    yield image.close_async (Priority.DEFAULT, null);
    yield check_disk ();
}

async void check_disk () throws Error {
    var storage = yield Imago.FileStorage.open_async (sample (), Imago.StorageFlags.NONE, Priority.DEFAULT, null);
    var job = new Imago.CheckJob (storage, "qcow2");
    yield job.run_async (Priority.DEFAULT, null);
    assert (job.result.corruptions == 0 && job.result.leaks == 0 && job.result.check_errors == 0);
    assert (job.get_result ().get_total_clusters () == SIZE / 2048);
    assert (job.result.messages.get_n_items () == 0);
}

async void write_disk (string folder) throws Error {
    var copy = File.new_for_path (folder + "/base.qcow2");
    sample ().get_parent ().get_child ("base.qcow2").copy (copy, FileCopyFlags.NONE);
    var how = options ();
    how.writable = true;
    var image = yield Imago.Image.open_async (copy, how, Priority.DEFAULT, null);
    assert (image.writable);
    var size = image.size;
    yield image.write_bytes_async (1000, new Bytes ("from Vala".data), Priority.DEFAULT, null);
    yield image.write_zeroes_async (4096, 4096, Imago.ZeroFlags.UNMAP, Priority.DEFAULT, null);
    yield image.resize_async (size + 4096, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, Priority.DEFAULT, null);
    assert (image.size == size + 4096);
    yield image.flush_async (Priority.DEFAULT, null);
    yield image.discard_async (4096, 4096, Imago.DiscardMode.ZERO, Priority.DEFAULT, null);
    yield image.close_async (Priority.DEFAULT, null);
    try {
        image.write_bytes (0, new Bytes ("late".data));
        assert_not_reached ();
    } catch (Imago.Error.CLOSED error) {
    }

    image = yield Imago.Image.open_async (copy, options (), Priority.DEFAULT, null);
    var bytes = yield image.read_bytes_async (1000, 9, Priority.DEFAULT, null);
    assert (Memory.cmp (bytes.get_data (), "from Vala".data, 9) == 0);
    bytes = yield image.read_bytes_async (4096, 4096, Priority.DEFAULT, null);
    var zeroes = new uint8[4096];
    assert (Memory.cmp (bytes.get_data (), zeroes, 4096) == 0);
    yield image.close_async (Priority.DEFAULT, null);
    copy.delete ();
}

void test_write () {
    var loop = new MainLoop ();
    try {
        var folder = DirUtils.make_tmp ("imago-vala-XXXXXX");
        write_disk.begin (folder, (_, result) => {
            try {
                write_disk.end (result);
            } catch (Error error) {
                GLib.error ("%s", error.message);
            }
            loop.quit ();
        });
        loop.run ();
        DirUtils.remove (folder);
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

void test_async () {
    var loop = new MainLoop ();
    try {
        var folder = DirUtils.make_tmp ("imago-vala-XXXXXX");
        read_and_convert.begin (folder, (_, result) => {
            try {
                read_and_convert.end (result);
            } catch (Error error) {
                GLib.error ("%s", error.message);
            }
            loop.quit ();
        });
        loop.run ();
        FileUtils.unlink (folder + "/disk.raw");
        DirUtils.remove (folder);
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

// A storage of one's own: its bytes lie in an array.
class ArrayStorage : Imago.Storage {
    public uint8[] content = {};
    public Error? failure = null;

    public ArrayStorage () {
        Object (name: "array", writable: true);
    }

    void write (uint64 offset, uint8[] data) {
        if (offset + data.length > content.length)
            content.resize ((int) offset + data.length);
        Memory.copy (&content[(size_t) offset], data, data.length);
    }

    public override bool submit (Imago.StorageRequest request) throws Error {
        var offset = request.get_offset ();
        if (failure != null)
            throw failure;
        switch (request.get_operation ()) {
        case Imago.StorageOperation.QUERY_SIZE:
            request.return_size (content.length);
            return true;
        case Imago.StorageOperation.READ:
            request.return_bytes (new Bytes (content[(int) offset:(int) (offset + request.get_length ())]));
            return true;
        case Imago.StorageOperation.WRITE:
            write (offset, request.dup_bytes ().get_data ());
            break;
        case Imago.StorageOperation.TRUNCATE:
            content.resize ((int) offset);
            break;
        case Imago.StorageOperation.FLUSH:
            break;
        default:
            throw new IOError.NOT_SUPPORTED ("bytes only");
        }
        request.return_done ();
        return true;
    }
}

async void carry_disk (string folder) throws Error {
    var storage = new ArrayStorage ();
    var how = new Imago.CreateOptions () {
        format_name = "qcow2",
        size = SIZE
    };
    var image = yield Imago.Image.create_storage_async (storage, how, Priority.DEFAULT, null);
    yield image.write_bytes_async (70000, new Bytes ("from Vala".data), Priority.DEFAULT, null);
    yield image.close_async (Priority.DEFAULT, null);

    FileUtils.set_data (folder + "/disk.qcow2", storage.content);
    image = new Imago.Image.open (File.new_for_path (folder + "/disk.qcow2"), options ());
    assert (Memory.cmp (image.read_bytes (70000, 9).get_data (), "from Vala".data, 9) == 0);
    image.close ();
    FileUtils.unlink (folder + "/disk.qcow2");

    image = new Imago.Image.open_storage (storage, options ());
    storage.failure = new Imago.Error.CORRUPT ("a scratch");
    try {
        yield image.read_bytes_async (70000, 9, Priority.DEFAULT, null);
        assert_not_reached ();
    } catch (Imago.Error.CORRUPT error) {
        assert ("a scratch" in error.message);
    }
}

void test_storage () {
    var loop = new MainLoop ();
    try {
        var folder = DirUtils.make_tmp ("imago-vala-XXXXXX");
        carry_disk.begin (folder, (_, result) => {
            try {
                carry_disk.end (result);
            } catch (Error error) {
                GLib.error ("%s", error.message);
            }
            loop.quit ();
        });
        loop.run ();
        DirUtils.remove (folder);
    } catch (Error error) {
        GLib.error ("%s", error.message);
    }
}

int main (string[] args) {
    Test.init (ref args);
    Test.add_func ("/vala/open", test_open);
    Test.add_func ("/vala/map", test_map);
    Test.add_func ("/vala/error", test_error);
    Test.add_func ("/vala/async", test_async);
    Test.add_func ("/vala/write", test_write);
    Test.add_func ("/vala/storage", test_storage);
    return Test.run ();
}
