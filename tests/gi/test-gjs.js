// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Calls every public method from JavaScript and checks the data.
// usage: gjs -m test-gjs.js LIST-OF-FUNCTIONS.json

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import GObject from 'gi://GObject';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

import * as tap from './tap.js';
import {equal, raises, truth} from './tap.js';

const root = GLib.getenv('IMAGO_SOURCE_ROOT');
const DATA = `${root}/tests/data`;
const NORMAL = GLib.PRIORITY_DEFAULT;
const decoder = new TextDecoder();

function load(path) {
    return GLib.file_get_contents(path)[1];
}

const FACTS = JSON.parse(decoder.decode(load(`${DATA}/samples.json`)));

// ---- which functions were called ----

const functions = JSON.parse(decoder.decode(load(System.programArgs[0])));
const called = new Set();

for (const [type, kind, name] of functions) {
    const holder = type === null ? Imago : Imago[type];
    const owner = kind === 'method' ? holder.prototype : holder;
    const original = owner[name];
    const key = [type, name].join('.');
    owner[name] = function (...args) {
        called.add(key);
        return original.apply(this, args);
    };
}

// ---- helpers ----

function sample(name = 'disk.qcow2') {
    return Gio.File.new_for_path(`${DATA}/${name}`);
}

function options(properties = {}) {
    return new Imago.OpenOptions({
        format_name: 'qcow2',
        reference_policy: Imago.SameDirectoryPolicy.new(),
        ...properties,
    });
}

function openDisk(properties = {}) {
    return Imago.Image.open(sample(), options(properties), null);
}

// Calls start (callback) and runs a main loop until the callback; returns the result.
function wait(start) {
    const loop = new GLib.MainLoop(null, false);
    const results = [];
    start((_source, result) => {
        results.push(result);
        loop.quit();
    });
    equal(results.length, 0, 'callbacks before the starter returned');
    run(loop);
    equal(results.length, 1, 'callbacks');
    return results[0];
}

// Runs the loop, but not for ever.
function run(loop) {
    let late = false;
    const source = GLib.timeout_add_seconds(NORMAL, 20, () => {
        late = true;
        loop.quit();
        return GLib.SOURCE_REMOVE;
    });
    loop.run();
    truth(!late, 'the main loop was stopped in time');
    GLib.source_remove(source);
}

function fails(domain, code, run) {
    const error = raises(run);
    truth(error instanceof GLib.Error && error.matches(domain, code), `${error} matches ${domain.name} ${code}`);
    return error;
}

function text(bytes) {
    return decoder.decode(bytes.toArray());
}

function digestOf(image) {
    const checksum = new GLib.Checksum(GLib.ChecksumType.SHA256);
    for (let offset = 0, count; offset < image.get_size(); offset += count) {
        count = Math.min(1000003, image.get_size() - offset);
        checksum.update(image.read_bytes(offset, count, null).toArray());
    }
    return checksum.get_string();
}

function digestOfFile(path) {
    return GLib.compute_checksum_for_data(GLib.ChecksumType.SHA256, load(path));
}

function items(model) {
    truth(model instanceof Gio.ListModel, 'a list model');
    return Array.from({length: model.get_n_items()}, (_, i) => model.get_item(i));
}

function namesOf(model) {
    return items(model).map(item => item.get_name());
}

function withFolder(run) {
    const path = GLib.dir_make_tmp('imago-gjs-XXXXXX');
    try {
        run(path);
    } finally {
        for (const info of Gio.File.new_for_path(path).enumerate_children('standard::name', 0, null))
            GLib.unlink(`${path}/${info.get_name()}`);
        GLib.rmdir(path);
    }
}

// ---- formats and storages ----

tap.test('formats', () => {
    const names = namesOf(Imago.Format.list());
    truth(names.includes('qcow2') && names.includes('raw'), names);
    const qcow2 = Imago.Format.lookup('qcow2');
    equal(qcow2.get_name(), 'qcow2');
    truth(qcow2.get_title().toLowerCase().includes('qcow2'), qcow2.get_title());
    truth(qcow2.get_mime_types().includes('application/x-qemu-disk'), qcow2.get_mime_types());
    truth(qcow2.get_suffixes().length > 0, 'suffixes');
    truth(qcow2.get_flags() & Imago.FormatFlags.BACKING_FILE, 'flags');
    equal(Imago.Format.lookup('floppy of sand'), null);
});

tap.test('probe', () => {
    const storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, null);
    equal(namesOf(Imago.Format.probe(storage, null)), ['qcow2']);
    const result = wait(done => Imago.Format.probe_async(storage, NORMAL, null, done));
    equal(namesOf(Imago.Format.probe_finish(result)), ['qcow2']);
    equal(namesOf(Imago.Format.probe(Imago.NullStorage.new(1 << 20), null)), []);
});

tap.test('file-storage', () => {
    const content = load(`${DATA}/disk.qcow2`);
    let storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, null);
    truth(storage.get_name().endsWith('disk.qcow2'), storage.get_name());
    equal(storage.query_size(null), [true, content.length]);
    equal(storage.read_bytes(3, 1000, null).toArray(), content.slice(3, 1003));
    truth(storage.get_file().equal(sample()), 'the file');

    let result = wait(done => Imago.FileStorage.open_async(sample(), Imago.StorageFlags.NONE, NORMAL, null, done));
    storage = Imago.FileStorage.open_finish(result);
    result = wait(done => storage.read_bytes_async(512, 77, NORMAL, null, done));
    equal(storage.read_bytes_finish(result).toArray(), content.slice(512, 589));
    result = wait(done => storage.query_size_async(NORMAL, null, done));
    equal(storage.query_size_finish(result), [true, content.length]);

    const stream = sample().read(null);
    storage = Imago.FileStorage.open_fd(stream.get_fd(), 'from outside', Imago.StorageFlags.NONE);
    stream.close(null);
    equal(storage.get_name(), 'from outside');
    equal(text(storage.read_bytes(0, 3, null)), 'QFI');

    fails(Gio.IOErrorEnum, Gio.IOErrorEnum.NOT_FOUND,
        () => Imago.FileStorage.open(Gio.File.new_for_path('/nonexistent/disk'), Imago.StorageFlags.NONE, null));
    fails(Imago.Error, Imago.Error.NOT_REGULAR_FILE,
        () => Imago.FileStorage.open(Gio.File.new_for_path(DATA), Imago.StorageFlags.NONE, null));
});

tap.test('small-storages', () => {
    const memory = Imago.MemoryStorage.new(new TextEncoder().encode('0123456789'));
    equal(memory.query_size(null), [true, 10]);
    equal(text(memory.read_bytes(2, 3, null)), '234');
    const window = Imago.WindowStorage.new(memory, 4, 5);
    equal(window.query_size(null), [true, 5]);
    equal(text(window.read_bytes(1, 4, null)), '5678');
    const zeroes = Imago.NullStorage.new(2 ** 40);
    equal(zeroes.query_size(null), [true, 2 ** 40]);
    equal(zeroes.read_bytes(2 ** 40 - 8, 8, null).toArray(), new Uint8Array(8));
});

// ---- opening ----

tap.test('open-and-read', () => {
    const image = openDisk();
    equal(image.get_size(), FACTS['disk.qcow2'].size);
    equal(digestOf(image), FACTS['disk.qcow2'].sha256);
    equal(image.get_format().get_name(), 'qcow2');
    truth(image.get_storage().get_name().endsWith('disk.qcow2'), 'its storage');
    const backing = image.dup_backing();
    equal(digestOf(backing), FACTS['base.qcow2'].sha256);
    equal(backing.dup_backing(), null);
    equal(image.close(null), true);
    fails(Imago.Error, Imago.Error.CLOSED, () => image.read_bytes(0, 1, null));
});

tap.test('open-async', () => {
    let result = wait(done => Imago.Image.open_async(sample(), options(), NORMAL, null, done));
    const image = Imago.Image.open_finish(result);
    equal(digestOf(image), FACTS['disk.qcow2'].sha256);
    result = wait(done => image.read_bytes_async(0x380000, 6, NORMAL, null, done));
    equal(text(image.read_bytes_finish(result)), 'Beyond');
    result = wait(done => image.close_async(NORMAL, null, done));
    equal(image.close_finish(result), true);
    result = wait(done => image.read_bytes_async(0, 1, NORMAL, null, done));
    fails(Imago.Error, Imago.Error.CLOSED, () => image.read_bytes_finish(result));
});

tap.test('open-storage', () => {
    const content = load(`${DATA}/base.qcow2`);
    let image = Imago.Image.open_storage(Imago.MemoryStorage.new(content), options(), null);
    equal(digestOf(image), FACTS['base.qcow2'].sha256);
    const result = wait(done => Imago.Image.open_storage_async(Imago.MemoryStorage.new(content), options(),
        NORMAL, null, done));
    image = Imago.Image.open_storage_finish(result);
    equal(digestOf(image), FACTS['base.qcow2'].sha256);
});

tap.test('create', () => withFolder(folder => {
    const file = Gio.File.new_for_path(`${folder}/new.qcow2`);
    const made = Imago.CreateOptions.new();
    made.format_name = 'qcow2';
    made.size = 1 << 20;
    made.cluster_size = 4096;
    made.preallocation = Imago.Preallocation.METADATA;
    const image = Imago.Image.create(file, made, null);
    equal(image.get_size(), 1 << 20, 'its size');
    image.close(null);
    fails(Gio.IOErrorEnum, Gio.IOErrorEnum.EXISTS, () => Imago.Image.create(file, made, null));

    const above = Gio.File.new_for_path(`${folder}/above.qcow2`);
    const over = new Imago.CreateOptions({format_name: 'qcow2', backing_file: file, backing_format: 'qcow2'});
    const result = wait(callback => Imago.Image.create_async(above, over, NORMAL, null, callback));
    const overlay = Imago.Image.create_finish(result);
    equal(overlay.query_info(null).get_backing_filename(), 'new.qcow2', 'its backing file');
    overlay.close(null);
}));

tap.test('open-snapshot', () => {
    equal(digestOf(openDisk({snapshot: 'before-upgrade'})), FACTS['disk.qcow2@before-upgrade'].sha256);
    fails(Imago.Error, Imago.Error.SNAPSHOT_NOT_FOUND, () => openDisk({snapshot: 'after'}));
});

tap.test('open-options-setters', () => {
    const made = Imago.OpenOptions.new();
    made.set_format_name('qcow2');
    made.set_snapshot('1');
    made.set_reference_policy(Imago.SameDirectoryPolicy.new());
    made.set_defer_references(true);
    made.set_writable(true);
    made.set_writable(false);
    made.locking = Imago.Locking.ON;
    made.force_share = true;
    const image = Imago.Image.open(sample(), made, null);
    fails(Imago.Error, Imago.Error.REFERENCES_PENDING, () => image.read_bytes(0, 1, null));
    image.open_references(null);
    equal(digestOf(image), FACTS['disk.qcow2@before-upgrade'].sha256);
});

tap.test('two-phases', () => {
    const image = openDisk({defer_references: true});
    const [reference] = items(image.list_references());
    equal(reference.get_role(), Imago.ReferenceRole.BACKING_FILE);
    equal(reference.get_name(), 'base.qcow2');
    equal(reference.dup_display_name(), '“base.qcow2”');
    equal(reference.dup_format_name(), 'qcow2');
    const result = wait(done => image.open_references_async(NORMAL, null, done));
    equal(image.open_references_finish(result), true);
    equal(digestOf(image), FACTS['disk.qcow2'].sha256);

    const alone = openDisk({defer_references: true});
    equal(alone.set_backing(null), true);
    alone.open_references(null);
    equal(alone.dup_backing(), null);
    equal(alone.read_bytes(510, 2, null).toArray(), new Uint8Array(2));
});

// ---- policies ----

const MemoryPolicy = GObject.registerClass({
    Implements: [Imago.ReferencePolicy],
}, class MemoryPolicy extends GObject.Object {
    asked = [];

    vfunc_decide(reference) {
        this.asked.push([reference.get_role(), reference.get_name(), reference.dup_format_name(),
            reference.get_depth(), reference.get_file().get_basename()]);
        reference.set_format_name('qcow2');
        reference.grant(Imago.MemoryStorage.new(load(`${DATA}/base.qcow2`)));
        return true;
    }
});

const RefusingPolicy = GObject.registerClass({
    Implements: [Imago.ReferencePolicy],
}, class RefusingPolicy extends GObject.Object {
    vfunc_decide(_reference) {
        throw new GLib.Error(Gio.IOErrorEnum, Gio.IOErrorEnum.BUSY, 'not today');
    }
});

tap.test('batch', () => {
    const image = openDisk();
    const many = new Imago.Batch({image});
    equal(many.get_image() === image, true);
    equal([0, 65536, 4096].map(offset => many.add_read(offset, 512)), [0, 1, 2]);
    equal(many.get_n_requests(), 3);
    const result = wait(done => many.run_async(NORMAL, null, done));
    equal(many.run_finish(result), true);
    [0, 65536, 4096].forEach((offset, index) => {
        equal(many.check(index), true);
        equal(many.dup_bytes(index).equal(image.read_bytes(offset, 512, null)), true);
    });
    const refused = Imago.Batch.new(image);
    refused.add_write(0, new TextEncoder().encode('no'));
    fails(Imago.Error, Imago.Error.READ_ONLY, () => refused.run(null));
});

// ---- storages in JavaScript ----

// A Uint8Array of fixed size, with a hook that a test can replace.
const ShelfStorage = GObject.registerClass(class ShelfStorage extends Imago.Storage {
    _init(content) {
        super._init({name: 'shelf', writable: true});
        this.content = content;
        this.hook = null;
        this.later = false;
    }

    vfunc_submit(request) {
        if (this.hook !== null)
            return this.hook(request);
        if (this.later)
            GLib.idle_add(GLib.PRIORITY_DEFAULT, () => this.answer(request));
        else
            this.answer(request);
        return true;
    }

    answer(request) {
        const offset = request.get_offset();
        const length = request.get_length();
        const operation = request.get_operation();
        if (operation === Imago.StorageOperation.READ) {
            request.return_bytes(new GLib.Bytes(this.content.subarray(offset, offset + length)));
        } else if (operation === Imago.StorageOperation.QUERY_SIZE) {
            request.return_size(this.content.length);
        } else if (operation === Imago.StorageOperation.WRITE) {
            this.replace(offset, request.dup_bytes().toArray());
            request.return_done();
        } else if (operation === Imago.StorageOperation.WRITE_ZEROES) {
            equal(request.get_zero_flags(), Imago.ZeroFlags.NONE);
            this.replace(offset, new Uint8Array(length));
            request.return_done();
        } else if (operation === Imago.StorageOperation.TRUNCATE) {
            this.content = this.content.slice(0, offset);
            this.replace(offset, new Uint8Array(0));
            request.return_done();
        } else if (operation === Imago.StorageOperation.FLUSH) {
            request.return_done();
        } else {
            request.return_error(new GLib.Error(Gio.IOErrorEnum, Gio.IOErrorEnum.NOT_SUPPORTED, 'no'));
        }
        return GLib.SOURCE_REMOVE;
    }

    replace(offset, bytes) {
        if (offset + bytes.length > this.content.length) {
            const room = new Uint8Array(offset + bytes.length);
            room.set(this.content);
            this.content = room;
        }
        this.content.set(bytes, offset);
    }
});

tap.test('storage-in-javascript', () => {
    const storage = new ShelfStorage(load(`${DATA}/base.qcow2`));
    const image = Imago.Image.open_storage(storage, options({writable: true}), null);
    equal(image.get_storage() === storage, true);
    image.write_bytes(100, new TextEncoder().encode('in JavaScript'), null);
    equal(new TextDecoder().decode(image.read_bytes(100, 13, null).toArray()), 'in JavaScript');
    storage.later = true;
    let result = wait(done => image.write_bytes_async(7, new TextEncoder().encode('late'), NORMAL, null, done));
    equal(image.write_bytes_finish(result), true);
    result = wait(done => image.read_bytes_async(7, 4, NORMAL, null, done));
    equal(new TextDecoder().decode(image.read_bytes_finish(result).toArray()), 'late');
    result = wait(done => image.close_async(NORMAL, null, done));
    equal(image.close_finish(result), true);
});

tap.test('create-in-javascript', () => withFolder(folder => {
    const how = new Imago.CreateOptions({format_name: 'qcow2', size: 1 << 20});
    const disk = new Uint8Array(1 << 20);
    disk.set(encode('in an array'), 70000);
    for (const make of [storage => Imago.Image.create_storage(storage, how, null),
        storage => Imago.Image.create_storage_finish(
            wait(done => Imago.Image.create_storage_async(storage, how, NORMAL, null, done)))]) {
        const storage = new ShelfStorage(new Uint8Array(0));
        const image = make(storage);
        image.write_bytes(70000, encode('in an array'), null);
        image.close(null);
        GLib.file_set_contents(`${folder}/disk.qcow2`, storage.content);
        judge(`${folder}/disk.qcow2`, disk);
    }
}));

tap.test('storage-with-bad-manners', () => {
    const storage = new ShelfStorage(new Uint8Array(100));
    equal(storage.query_size(null)[1], 100);
    storage.hook = () => {
        throw new GLib.Error(Gio.IOErrorEnum, Gio.IOErrorEnum.NO_SPACE, 'full');
    };
    fails(Gio.IOErrorEnum, Gio.IOErrorEnum.NO_SPACE, () => storage.read_bytes(20, 10, null));
    storage.hook = request => {
        request.return_bytes(new GLib.Bytes(new Uint8Array(3)));
        return true;
    };
    fails(Imago.Error, Imago.Error.FAILED, () => storage.read_bytes(20, 10, null));
    storage.hook = request => {
        request.return_done();
        return true;
    };
    fails(Imago.Error, Imago.Error.FAILED, () => storage.read_bytes(20, 10, null));
    // Answered, and then not returned true.
    storage.hook = request => {
        request.return_bytes(new Uint8Array(10));
    };
    truth(fails(Imago.Error, Imago.Error.FAILED, () => storage.read_bytes(20, 10, null)).message.includes('return TRUE'));
    // One that answers from a promise.
    storage.hook = async request => {
        await null;
        request.return_bytes(new Uint8Array(10));
    };
    const promised = wait(done => storage.read_bytes_async(20, 10, NORMAL, null, done));
    equal(storage.read_bytes_finish(promised).get_size(), 10);
    // Forgotten: the collector has to come first.
    storage.hook = () => {
        GLib.idle_add(GLib.PRIORITY_LOW, () => {
            System.gc();
            return GLib.SOURCE_REMOVE;
        });
        return true;
    };
    const result = wait(done => storage.read_bytes_async(20, 10, NORMAL, null, done));
    const error = fails(Imago.Error, Imago.Error.FAILED, () => storage.read_bytes_finish(result));
    truth(error.message.includes('dropped'), error.message);
    storage.hook = null;
    equal(storage.read_bytes(20, 10, null).get_size(), 10);
    equal(storage.write_zeroes(90, 20, Imago.ZeroFlags.NONE, null), true);
    equal(storage.query_size(null)[1], 110);
    equal(storage.discard(0, 10, null), true);
});

tap.test('policy-in-javascript', () => {
    const policy = new MemoryPolicy();
    const asked = [Imago.ReferenceRole.BACKING_FILE, 'base.qcow2', 'qcow2', 1, 'base.qcow2'];
    equal(digestOf(openDisk({reference_policy: policy})), FACTS['disk.qcow2'].sha256);
    equal(policy.asked, [asked]);
    const result = wait(done => Imago.Image.open_async(sample(), options({reference_policy: policy}), NORMAL, null,
        done));
    equal(digestOf(Imago.Image.open_finish(result)), FACTS['disk.qcow2'].sha256);
    equal(policy.asked, [asked, asked]);

    const error = raises(() => openDisk({reference_policy: new RefusingPolicy()}));
    truth(error.message.includes('not today'), error.message);
});

tap.test('callback-policy', () => {
    const seen = [];
    const policy = Imago.CallbackPolicy.new(tap.guard(reference => {
        seen.push(reference.get_name());
        reference.grant(Imago.FileStorage.open(reference.get_file(), Imago.StorageFlags.NONE, null));
        return true;
    }, false));
    equal(digestOf(openDisk({reference_policy: policy})), FACTS['disk.qcow2'].sha256);
    const result = wait(done => Imago.Image.open_async(sample(), options({reference_policy: policy}), NORMAL, null,
        done));
    equal(digestOf(Imago.Image.open_finish(result)), FACTS['disk.qcow2'].sha256);
    equal(seen, ['base.qcow2', 'base.qcow2']);

    const refusing = Imago.CallbackPolicy.new(tap.guard(reference => {
        reference.deny(new GLib.Error(Gio.IOErrorEnum, Gio.IOErrorEnum.PERMISSION_DENIED, 'no entry'));
        return true;
    }, false));
    truth(raises(() => openDisk({reference_policy: refusing})).message.includes('no entry'), 'the reason');
});

tap.test('built-in-policies', () => {
    fails(Imago.Error, Imago.Error.REFERENCE_DENIED, () => openDisk({reference_policy: Imago.DenyPolicy.new()}));
    fails(Imago.Error, Imago.Error.REFERENCE_DENIED, () => openDisk({reference_policy: null}));
    equal(digestOf(openDisk({reference_policy: Imago.PermissivePolicy.new()})), FACTS['disk.qcow2'].sha256);
    const table = Imago.MapPolicy.new();
    table.add('base.qcow2', Imago.FileStorage.open(sample('base.qcow2'), Imago.StorageFlags.NONE, null), 'qcow2');
    equal(digestOf(openDisk({reference_policy: table})), FACTS['disk.qcow2'].sha256);
});

// ---- what an image is ----

tap.test('info', () => {
    const image = openDisk();
    const info = image.query_info(null);
    truth(info.get_filename().endsWith('tests/data/disk.qcow2'), info.get_filename());
    equal(info.get_format_name(), 'qcow2');
    equal(info.get_virtual_size(), 4 << 20);
    truth(info.get_actual_size() > 0, 'actual size');
    equal(info.get_cluster_size(), 2048);
    equal(info.get_backing_filename(), 'base.qcow2');
    truth(info.get_full_backing_filename().endsWith('tests/data/base.qcow2'), info.get_full_backing_filename());
    equal(info.get_backing_format_name(), 'qcow2');
    equal(info.get_compat(), '1.1');
    equal(info.get_compression_type(), 'zlib');
    equal(info.get_refcount_bits(), 16);
    equal([info.get_dirty(), info.get_corrupt(), info.get_lazy_refcounts(), info.get_extended_l2()],
        [false, false, false, false]);
    equal(info.get_data_file(), null);
    equal(info.get_data_file_raw(), false);
    equal(namesOf(info.get_snapshots()), ['before-upgrade']);
    const [bitmap] = items(info.get_bitmaps());
    equal([bitmap.get_name(), bitmap.get_granularity(), bitmap.get_in_use(), bitmap.get_recording()],
        ['since-monday', 65536, false, true]);
    const result = wait(done => image.query_info_async(NORMAL, null, done));
    equal(image.query_info_finish(result).get_cluster_size(), 2048);
    equal(info.get_encryption_info(), null);
});

tap.test('encrypted', () => {
    const image = Imago.Image.open(sample('luks.qcow2'), options({metadata_only: true}), null);
    fails(Imago.Error, Imago.Error.METADATA_ONLY, () => image.read_bytes(0, 1, null));
    const info = image.query_info(null).get_encryption_info();
    equal([info.get_method(), info.get_cipher(), info.get_cipher_mode(), info.get_iv_generator(), info.get_iv_hash(),
        info.get_hash()], ['luks', 'aes-256', 'cbc', 'essiv', 'sha256', 'sha512']);
    equal(info.get_uuid(), '5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6c1a90');
    equal([info.get_payload_offset(), info.get_master_key_iterations()], [2068480, 12345]);
    const slots = items(info.get_key_slots());
    equal(slots.map(slot => slot.get_active()), [false, true, false, false, false, false, false, false]);
    equal([slots[1].get_key_offset(), slots[1].get_iterations(), slots[1].get_stripes()], [262144, 100000, 4000]);
});

tap.test('snapshots', () => {
    const image = openDisk();
    const [snapshot] = items(image.list_snapshots(null));
    equal([snapshot.get_id(), snapshot.get_name()], ['1', 'before-upgrade']);
    equal([snapshot.get_disk_size(), snapshot.get_vm_state_size(), snapshot.get_vm_clock()], [4 << 20, 0, 0]);
    equal(snapshot.get_icount()[0], false);
    equal(snapshot.get_date_usec(), 1704067200000000);
    equal(snapshot.get_date_nanoseconds(), 0);
    equal(snapshot.get_date_time().to_utc().format('%F %T'), '2024-01-01 00:00:00');
    const result = wait(done => image.list_snapshots_async(NORMAL, null, done));
    equal(namesOf(image.list_snapshots_finish(result)), ['before-upgrade']);
});

tap.test('block-map', () => {
    const image = openDisk();
    const end = image.get_size();
    const stored = {0: load(`${DATA}/disk.qcow2`), 1: load(`${DATA}/base.qcow2`)};
    const K = Imago.ExtentKind;
    let extent = image.map(0, end, Imago.MapFlags.NONE, null);
    equal([extent.get_kind(), extent.get_offset(), extent.get_depth(), extent.get_reads_as_zero()],
        [K.COMPRESSED, 0, 1, false]);
    const array = image.map_extents(0, end, 1000, Imago.MapFlags.NONE, null);
    const kinds = new Set();
    let position = 0;
    for (let i = 0; i < array.get_n(); i++) {
        extent = array.get(i);
        equal(extent.get_offset(), position);
        kinds.add(extent.get_kind());
        const [found, hostOffset] = extent.get_host_offset();
        equal(found, extent.get_kind() === K.DATA, 'has a host offset');
        if (found) {
            truth(extent.get_storage_name().endsWith('.qcow2'), extent.get_storage_name());
            equal(image.read_bytes(position, extent.get_length(), null).toArray(),
                stored[extent.get_depth()].slice(hostOffset, hostOffset + extent.get_length()));
        }
        position += extent.get_length();
    }
    equal(position, end);
    equal([...kinds].sort(), [K.DATA, K.COMPRESSED, K.ZERO, K.UNALLOCATED].sort());
    let result = wait(done => image.map_async(0, end, Imago.MapFlags.TOP_ONLY, NORMAL, null, done));
    equal(image.map_finish(result).get_kind(), K.UNALLOCATED);
    result = wait(done => image.map_extents_async(0, end, 3, Imago.MapFlags.NONE, NORMAL, null, done));
    equal(image.map_extents_finish(result).get_n(), 3);
    fails(Imago.Error, Imago.Error.OUT_OF_RANGE, () => image.map(end, 1, Imago.MapFlags.NONE, null));
});

tap.test('inspection', () => {
    let inspection = Imago.inspect(sample(), null);
    equal(namesOf(inspection.get_formats()), ['qcow2']);
    equal(inspection.get_file_size(), load(`${DATA}/disk.qcow2`).length);
    equal(inspection.get_virtual_size(), 4 << 20);
    equal(items(inspection.get_references()).map(r => r.get_name()), ['base.qcow2']);
    equal(inspection.get_encryption(), null);
    equal(inspection.get_n_snapshots(), 1);
    equal(inspection.get_unknown_features() ?? [], []);
    equal(inspection.get_problems() ?? [], []);
    equal(inspection.get_self_contained(), false);
    const result = wait(done => Imago.inspect_async(sample('base.qcow2'), NORMAL, null, done));
    equal(Imago.inspect_finish(result).get_self_contained(), true);
});

// ---- reading ----

tap.test('reading-past-the-end', () => {
    const image = openDisk();
    const end = image.get_size();
    fails(Imago.Error, Imago.Error.OUT_OF_RANGE, () => image.read_bytes(end - 1, 2, null));
    equal(image.read_bytes(end - 1, 1, null).toArray(), new Uint8Array(1));
    const result = wait(done => image.read_bytes_async(end, 1, NORMAL, null, done));
    fails(Imago.Error, Imago.Error.OUT_OF_RANGE, () => image.read_bytes_finish(result));
});

tap.test('stream', () => {
    const image = openDisk();
    const stream = image.create_input_stream();
    truth(stream instanceof Gio.InputStream && stream.can_seek(), 'a seekable stream');
    stream.seek(0x380000, GLib.SeekType.SET, null);
    equal(text(stream.read_bytes(6, null)), 'Beyond');
    equal(stream.tell(), 0x380006);
    const result = wait(done => stream.read_bytes_async(4, NORMAL, null, done));
    equal(text(stream.read_bytes_finish(result)), ' the');
    stream.close(null);
});

tap.test('many-reads-at-once', () => {
    const image = openDisk();
    const whole = image.read_bytes(0, image.get_size(), null).toArray();
    const loop = new GLib.MainLoop(null, false);
    let left = 200;
    for (let i = 0; i < 200; i++) {
        const offset = i * 7919 % (whole.length - 500);
        image.read_bytes_async(offset, 500, NORMAL, null, (source, result) => {
            tap.guard(() => {
                equal(source.read_bytes_finish(result).toArray(), whole.slice(offset, offset + 500));
            })();
            if (--left === 0)
                loop.quit();
        });
    }
    run(loop);
    equal(left, 0);
});

tap.test('cancelled', () => {
    const image = openDisk();
    const cancellable = new Gio.Cancellable();
    cancellable.cancel();
    const CANCELLED = Gio.IOErrorEnum.CANCELLED;
    fails(Gio.IOErrorEnum, CANCELLED, () => image.read_bytes(0, 1, cancellable));
    let result = wait(done => image.read_bytes_async(0, 1, NORMAL, cancellable, done));
    fails(Gio.IOErrorEnum, CANCELLED, () => image.read_bytes_finish(result));
    result = wait(done => Imago.Image.open_async(sample(), options(), NORMAL, cancellable, done));
    fails(Gio.IOErrorEnum, CANCELLED, () => Imago.Image.open_finish(result));
});

// ---- writing ----

function encode(string) {
    return new TextEncoder().encode(string);
}

function workCopy(folder, name = 'base.qcow2') {
    sample(name).copy(Gio.File.new_for_path(`${folder}/${name}`), Gio.FileCopyFlags.NONE, null, null);
    return Gio.File.new_for_path(`${folder}/${name}`);
}

function openWritable(file, properties = {}) {
    return Imago.Image.open(file, options({writable: true, ...properties}), null);
}

// What an independent program finds in the image, if there is one.
function judge(path, wanted) {
    if (GLib.find_program_in_path('qemu-img') === null)
        return;
    for (const args of [['check', '-q', path], ['convert', '-O', 'raw', path, `${path}.raw`]]) {
        // A sanitizer's runtime that is preloaded for our code is nothing for others.
        const launcher = new Gio.SubprocessLauncher({flags: Gio.SubprocessFlags.NONE});
        launcher.unsetenv('LD_PRELOAD');
        launcher.spawnv(['qemu-img', ...args]).wait_check(null);
    }
    equal(digestOfFile(`${path}.raw`), GLib.compute_checksum_for_data(GLib.ChecksumType.SHA256, wanted));
}

tap.test('io-stream', () => withFolder(folder => {
    const image = openWritable(workCopy(folder));
    const disk = image.read_bytes(0, image.get_size(), null).toArray();
    const stream = image.create_io_stream();
    truth(stream instanceof Gio.IOStream && stream.can_seek() && stream.can_truncate(), 'an IO stream');
    const source = stream.get_input_stream();
    const target = stream.get_output_stream();
    equal(target.write_bytes(encode('first'), null), 5);
    disk.set(encode('first'));
    equal(source.read_bytes(100, null).toArray(), disk.slice(5, 105));
    stream.seek(20000, GLib.SeekType.SET, null);
    let result = wait(done => target.write_bytes_async(encode('second'), NORMAL, null, done));
    equal(target.write_bytes_finish(result), 6);
    disk.set(encode('second'), 20000);
    equal([stream.tell(), source.tell()], [20006, 20006]);
    const data = new Gio.DataInputStream({base_stream: source, close_base_stream: false});
    stream.seek(20000, GLib.SeekType.SET, null);
    equal(data.read_byte(null), 's'.charCodeAt(0));
    result = wait(done => target.flush_async(NORMAL, null, done));
    equal(target.flush_finish(result), true);
    result = wait(done => stream.close_async(NORMAL, null, done));
    equal(stream.close_finish(result), true);
    image.close(null);
    judge(`${folder}/base.qcow2`, disk);
}));

tap.test('splice', () => {
    const image = Imago.Image.open(Gio.File.new_for_path(`${DATA}/base.qcow2`), options(), null);
    const size = image.get_size();
    const disk = image.read_bytes(0, size, null).toArray();
    const copies = [Gio.MemoryOutputStream.new_resizable(), Gio.MemoryOutputStream.new_resizable()];
    equal(image.splice(copies[0], 0, size, null), size);
    const result = wait(done => image.splice_async(copies[1], 0, size, NORMAL, null, done));
    equal(image.splice_finish(result), size);
    for (const copy of copies) {
        copy.close(null);
        equal(copy.steal_as_bytes().toArray(), disk);
    }
});

tap.test('stream-storage', () => withFolder(folder => {
    const file = workCopy(folder);
    const memory = Gio.MemoryInputStream.new_from_bytes(file.load_bytes(null)[0]);
    let image = Imago.Image.open_storage(Imago.StreamStorage.new_for_input(memory), options(), null);
    const disk = image.read_bytes(0, image.get_size(), null).toArray();
    equal(digestOf(image), digestOf(Imago.Image.open(file, options(), null)));
    image = Imago.Image.open_storage(new Imago.StreamStorage({input_stream: memory}), options(), null);
    equal(image.get_size(), disk.length);
    for (const storage of [Imago.StreamStorage.new_for_io(file.open_readwrite(null)),
        new Imago.StreamStorage({io_stream: file.open_readwrite(null)})]) {
        image = Imago.Image.open_storage(storage, options({writable: true}), null);
        const result = wait(done => image.write_bytes_async(30000, encode('far away'), NORMAL, null, done));
        equal(image.write_bytes_finish(result), true);
        image.close(null);
    }
    disk.set(encode('far away'), 30000);
    judge(`${folder}/base.qcow2`, disk);
}));

tap.test('write-and-close', () => withFolder(folder => {
    const image = openWritable(workCopy(folder));
    equal([image.get_writable(), openDisk().get_writable()], [true, false]);
    const size = image.get_size();
    const disk = new Uint8Array(size + 8192);
    disk.set(image.read_bytes(0, size, null).toArray());
    equal(image.write_bytes(1000, encode('Hello'), null), true);
    disk.set(encode('Hello'), 1000);
    equal(image.write_zeroes(4096, 5000, Imago.ZeroFlags.UNMAP, null), true);
    disk.fill(0, 4096, 9096);
    equal(image.discard(16384, 8192, Imago.DiscardMode.ZERO, null), true);
    disk.fill(0, 16384, 24576);
    equal(image.flush(null), true);
    equal(image.resize(size + 8192, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, null), true);
    equal(image.write_compressed(size, new Uint8Array(2048).fill(7), null), true);
    disk.fill(7, size, size + 2048);
    equal(image.get_size(), size + 8192);
    fails(Imago.Error, Imago.Error.OUT_OF_RANGE, () => image.write_bytes(size + 8191, encode('xy'), null));
    equal(image.close(null), true);
    fails(Imago.Error, Imago.Error.CLOSED, () => image.write_bytes(0, encode('x'), null));
    judge(`${folder}/base.qcow2`, disk);
}));

tap.test('write-async', () => withFolder(folder => {
    const image = openWritable(workCopy(folder));
    const size = image.get_size();
    const disk = new Uint8Array(size + 4096);
    disk.set(image.read_bytes(0, size, null).toArray());
    let result = wait(done => image.write_bytes_async(3000, encode('abc'), NORMAL, null, done));
    equal(image.write_bytes_finish(result), true);
    disk.set(encode('abc'), 3000);
    result = wait(done => image.write_zeroes_async(2048, 900, Imago.ZeroFlags.NONE, NORMAL, null, done));
    equal(image.write_zeroes_finish(result), true);
    disk.fill(0, 2048, 2948);
    result = wait(done => image.discard_async(8192, 4096, Imago.DiscardMode.ZERO, NORMAL, null, done));
    equal(image.discard_finish(result), true);
    disk.fill(0, 8192, 12288);
    result = wait(done => image.resize_async(size + 4096, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, NORMAL,
        null, done));
    equal(image.resize_finish(result), true);
    equal(image.get_size(), size + 4096);
    result = wait(done => image.write_compressed_async(size, new Uint8Array(4096).fill(9), NORMAL, null, done));
    equal(image.write_compressed_finish(result), true);
    disk.fill(9, size);
    result = wait(done => image.write_vm_state_async(1000, encode('state'), NORMAL, null, done));
    equal(image.write_vm_state_finish(result), true);
    result = wait(done => image.read_vm_state_async(1000, 5, NORMAL, null, done));
    equal(image.read_vm_state_finish(result).get_data(), encode('state'));
    equal(image.write_vm_state(1002, encode('y'), null), true);
    equal(image.read_vm_state(1000, 5, null).get_data(), encode('styte'));
    result = wait(done => image.flush_async(NORMAL, null, done));
    equal(image.flush_finish(result), true);
    result = wait(done => image.close_async(NORMAL, null, done));
    equal(image.close_finish(result), true);
    judge(`${folder}/base.qcow2`, disk);
}));

tap.test('write-refuses', () => withFolder(folder => {
    fails(Imago.Error, Imago.Error.READ_ONLY, () => openDisk().write_bytes(0, encode('x'), null));
    const file = workCopy(folder);
    fails(Imago.Error, Imago.Error.INVALID_OPTION, () => openWritable(file, {format_name: null}));
    const seen = [];
    const policy = Imago.CallbackPolicy.new(tap.guard(reference => {
        seen.push(reference.get_needs_write());
        reference.grant(Imago.FileStorage.open(sample('base.qcow2'), Imago.StorageFlags.NONE, null));
        return true;
    }, false));
    openWritable(workCopy(folder, 'disk.qcow2'), {reference_policy: policy}).close(null);
    equal(seen, [false], 'a backing file is never written');
}));

tap.test('write-storages', () => withFolder(folder => {
    const file = Imago.FileStorage.open(workCopy(folder), Imago.StorageFlags.WRITABLE, null);
    const memory = Imago.MemoryStorage.new_writable(8192);
    for (const storage of [file, memory]) {
        equal(storage.get_writable(), true);
        equal(storage.write_bytes(0, encode('abcdefgh'), null), true);
        equal(storage.write_zeroes(2, 2, Imago.ZeroFlags.NONE, null), true);
        let result = wait(done => storage.write_bytes_async(4, encode('XY'), NORMAL, null, done));
        equal(storage.write_bytes_finish(result), true);
        result = wait(done => storage.write_zeroes_async(7, 1, Imago.ZeroFlags.UNMAP, NORMAL, null, done));
        equal(storage.write_zeroes_finish(result), true);
        equal(storage.flush(null), true);
        result = wait(done => storage.flush_async(NORMAL, null, done));
        equal(storage.flush_finish(result), true);
        equal(text(storage.read_bytes(0, 8, null)), 'ab\0\0XYg\0');
        equal(storage.truncate(6, null), true);
        result = wait(done => storage.truncate_async(12, NORMAL, null, done));
        equal(storage.truncate_finish(result), true);
        equal(text(storage.read_bytes(0, 12, null)), 'ab\0\0XY\0\0\0\0\0\0');
        equal(storage.discard(6, 6, null), true);
        result = wait(done => storage.discard_async(6, 6, NORMAL, null, done));
        equal(storage.discard_finish(result), true);
        equal(storage.query_size(null), [true, 12]);
    }
    equal(text(memory.dup_bytes()).slice(0, 6), 'ab\0\0XY');
}));

// ---- jobs ----

tap.test('convert', () => withFolder(folder => {
    const target = Gio.File.new_for_path(`${folder}/disk.raw`);
    const job = Imago.ConvertJob.new(openDisk(), target);
    equal([job.get_phase(), job.get_bytes_done(), job.get_progress()], [Imago.JobPhase.NONE, 0, 0]);
    job.set_durable(false);
    job.set_threads(2);
    equal(job.run(null), true);
    equal([job.get_phase(), job.get_progress()], [Imago.JobPhase.DONE, 1]);
    equal(job.get_bytes_done(), job.get_bytes_total());
    equal(digestOfFile(`${folder}/disk.raw`), FACTS['disk.qcow2'].sha256);
    fails(Gio.IOErrorEnum, Gio.IOErrorEnum.EXISTS, () => Imago.ConvertJob.new(openDisk(), target).run(null));
    const again = Imago.ConvertJob.new(openDisk(), target);
    again.set_overwrite(true);
    equal(again.run(null), true);
}));

tap.test('convert-to-qcow2', () => withFolder(folder => {
    const path = `${folder}/two.qcow2`;
    const job = Imago.ConvertJob.new(openDisk(), Gio.File.new_for_path(path));
    job.add_source(openDisk());
    job.create_options = new Imago.CreateOptions({format_name: 'qcow2', cluster_size: 4096});
    job.compress = true;
    equal(job.run(null), true);
    equal(job.get_salvaged_range(0), [false, 0, 0]);
    const two = Imago.Image.open(Gio.File.new_for_path(path), options(), null);
    equal(two.get_size(), 2 * openDisk().get_size());
    const target = Imago.Image.create(Gio.File.new_for_path(`${folder}/half.raw`),
        new Imago.CreateOptions({format_name: 'raw', size: openDisk().get_size()}), null);
    const half = Imago.ConvertJob.new_for_image(two, target);
    half.offset = openDisk().get_size();
    equal(half.run(null), true);
    target.close(null);
    equal(digestOfFile(`${folder}/half.raw`), FACTS['disk.qcow2'].sha256);
}));

tap.test('convert-with-bitmaps', () => withFolder(folder => {
    const make = properties => new Imago.ConvertJob({
        source: openDisk(),
        create_options: new Imago.CreateOptions({format_name: 'qcow2'}),
        copy_bitmaps: true,
        durable: false,
        ...properties,
    });
    const names = image => [...image.query_info(null).get_bitmaps()].map(bitmap => bitmap.name);
    const path = Gio.File.new_for_path(`${folder}/new.qcow2`);
    const job = make({destination: path});
    equal([job.copy_bitmaps, job.skip_broken_bitmaps], [true, false]);
    job.skip_broken_bitmaps = true;
    equal(job.run(null), true);
    const copied = names(Imago.Image.open(path, options(), null));
    equal(copied.length > 0, true);
    const target = Imago.Image.create(Gio.File.new_for_path(`${folder}/there.qcow2`),
        new Imago.CreateOptions({format_name: 'qcow2', size: openDisk().get_size()}), null);
    const into = Imago.ConvertJob.new_for_image(openDisk(), target);
    into.copy_bitmaps = true;
    into.skip_broken_bitmaps = true;
    equal(into.run(null), true);
    equal(names(target), copied);
    target.close(null);
    fails(Imago.Error, Imago.Error.UNSUPPORTED, () => {
        const raw = make({destination: Gio.File.new_for_path(`${folder}/raw`), create_options: null});
        raw.run(null);
    });
}));

tap.test('convert-planned', () => withFolder(folder => {
    const job = Imago.ConvertJob.new(openDisk(), Gio.File.new_for_path(`${folder}/disk.raw`));
    const plan = job.plan(null);
    equal(plan.get_fully_allocated_size(), openDisk().get_size());
    equal(plan.get_required_size() < openDisk().get_size(), true);
    equal(plan.get_losses(),
        Imago.ConvertLosses.SNAPSHOTS | Imago.ConvertLosses.BITMAPS | Imago.ConvertLosses.BACKING_FILE);
    equal(plan.get_loss_texts().length, 3);
    equal([plan.get_has_available_size(), plan.get_room()], [true, Imago.ConvertRoom.ENOUGH]);
    equal(plan.get_available_size() > plan.get_required_size(), true);
    const again = job.plan_finish(wait(done => job.plan_async(NORMAL, null, done)));
    equal(again.get_required_size(), plan.get_required_size());
}));

tap.test('convert-async-with-progress', () => withFolder(folder => {
    const job = new Imago.ConvertJob({
        source: openDisk(),
        destination: Gio.File.new_for_path(`${folder}/disk.raw`),
        durable: false,
    });
    const seen = [];
    job.connect('notify::progress', () => seen.push(job.progress));
    const result = wait(done => job.run_async(NORMAL, null, done));
    equal(job.run_finish(result), true);
    equal(seen[seen.length - 1], 1, 'the last progress');
    equal(seen, [...seen].sort((a, b) => a - b), 'progress only rises');
    equal(digestOfFile(`${folder}/disk.raw`), FACTS['disk.qcow2'].sha256);
}));

tap.test('convert-stream', () => withFolder(folder => {
    const content = new Uint8Array(1024).fill(7);
    const make = (name, options) => new Imago.ConvertJob({
        source_stream: Gio.MemoryInputStream.new_from_bytes(new GLib.Bytes(content)),
        destination: Gio.File.new_for_path(`${folder}/${name}`),
        wrapping: Imago.StreamWrapping.AUTO,
        ...options,
    });
    const job = make('new', {});
    equal(job.run(null), true);
    equal(job.stream_length, 1024);
    const digest = digestOfFile(`${folder}/new`);
    equal(make('same', { sha256: digest }).run(null), true);
    equal(digestOfFile(`${folder}/same`), digest);
}));

tap.test('convert-to-stream', () => {
    const image = openDisk();
    const raw = Gio.MemoryOutputStream.new_resizable();
    const job = new Imago.ConvertJob({ source: image, target_stream: raw });
    const result = wait(done => job.run_async(NORMAL, null, done));
    equal(job.run_finish(result), true);
    raw.close(null);
    const checksum = new GLib.Checksum(GLib.ChecksumType.SHA256);
    checksum.update(raw.steal_as_bytes().toArray());
    equal(checksum.get_string(), FACTS['disk.qcow2'].sha256);

    const qcow2 = Gio.MemoryOutputStream.new_resizable();
    equal(new Imago.ConvertJob({ source: image, target_stream: qcow2, format_name: 'qcow2' }).run(null), true);
    qcow2.close(null);
    const storage = Imago.MemoryStorage.new(qcow2.steal_as_bytes());
    const copy = Imago.Image.open_storage(storage, new Imago.OpenOptions({ format_name: 'qcow2' }), null);
    equal(copy.size, image.size);
});

tap.test('check', () => {
    const storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, null);
    const job = Imago.CheckJob.new(storage, 'qcow2');
    equal(job.get_result(), null);
    equal(job.run(null), true);
    const result = job.get_result();
    equal([result.get_check_errors(), result.get_corruptions(), result.get_leaks(), result.get_n_messages()], [0, 0, 0, 0]);
    equal(result.get_total_clusters(), 2048);
    truth(result.get_allocated_clusters() > result.get_compressed_clusters(), 'allocated');
    truth(result.get_compressed_clusters() > 0, 'compressed');
    truth(result.get_fragmented_clusters() > 0, 'fragmented');
    equal(result.get_image_end_offset(), load(sample().get_path()).length);
    equal(result.get_messages().get_n_items(), 0);
    fails(Imago.Error, Imago.Error.UNSUPPORTED, () => Imago.CheckJob.new(storage, 'raw').run(null));
});

tap.test('check-damaged', () => {
    const content = load(sample().get_path()).slice();
    const view = new DataView(content.buffer, content.byteOffset, content.length);
    const table = Number(view.getBigUint64(48));
    const cluster = content.length / 2048 - 3;
    view.setUint16(Number(view.getBigUint64(table)) + 2 * cluster, 0);
    const job = new Imago.CheckJob({
        storage: Imago.MemoryStorage.new(new GLib.Bytes(content)),
        format_name: 'qcow2',
    });
    const done = wait(callback => job.run_async(NORMAL, null, callback));
    equal(job.run_finish(done), true);
    truth(job.result.corruptions > 0, 'found');
    const message = job.result.messages.get_item(0);
    equal(message.get_kind(), Imago.CheckMessageKind.CORRUPTION);
    equal(message.get_host_offset(), 2048 * cluster);
    truth(message.get_text().includes('refcount=0'), message.text);
});

tap.test('repair', () => withFolder(folder => {
    const content = load(sample().get_path()).slice();
    const view = new DataView(content.buffer, content.byteOffset, content.length);
    const table = Number(view.getBigUint64(48));
    const cluster = content.length / 2048 - 3;
    const file = Gio.File.new_for_path(`${folder}/x.qcow2`);
    view.setUint16(Number(view.getBigUint64(table)) + 2 * cluster, 0);
    file.replace_contents(content, null, false, Gio.FileCreateFlags.NONE, null);
    const job = Imago.CheckJob.new(Imago.FileStorage.open(file, Imago.StorageFlags.WRITABLE, null), 'qcow2');
    job.set_repair(Imago.Repair.ALL);
    job.set_force_share(true);
    truth(job.force_share, 'set');
    equal(job.repair, Imago.Repair.ALL);
    equal(job.run(null), true);
    const result = job.get_result();
    equal([result.get_corruptions(), result.get_leaks(), result.get_leaks_fixed()], [0, 0, 0]);
    truth(result.get_corruptions_fixed() > 0, 'fixed');
    equal(result.messages.get_item(0).kind, Imago.CheckMessageKind.REPAIRED);
}));

tap.test('resize-job', () => withFolder(folder => {
    const file = Gio.File.new_for_path(`${folder}/x.qcow2`);
    const image = Imago.Image.create(file, new Imago.CreateOptions({format_name: 'qcow2', size: 65536}), null);
    const job = Imago.ResizeJob.new(image, 1048576);
    job.set_preallocation(Imago.Preallocation.FALLOC);
    equal(job.run(null), true);
    equal([image.size, job.bytes_done, job.preallocation], [1048576, 983040, Imago.Preallocation.FALLOC]);
    const smaller = new Imago.ResizeJob({image, size: 512});
    smaller.set_flags(Imago.ResizeFlags.MAY_SHRINK);
    equal(smaller.run_finish(wait(callback => smaller.run_async(NORMAL, null, callback))), true);
    equal([image.get_size(), smaller.size], [512, 512]);
    image.close(null);
}));

tap.test('compare', () => {
    const disk = openDisk();
    const job = Imago.CompareJob.new(disk, disk);
    equal(job.get_comparison(), Imago.Comparison.NONE);
    job.set_strict(true);
    job.set_threads(2);
    job.set_rate_limit(1e12);
    equal([job.get_threads(), job.get_rate_limit()], [2, 1e12]);
    equal(job.run(null), true);
    equal(job.get_comparison(), Imago.Comparison.IDENTICAL);
    equal(job.get_difference_offset(), 0);
    equal(job.get_failure(), Imago.CompareFailure.NONE);

    const content = disk.read_bytes(0, disk.get_size(), null).toArray();
    content[content.length - 1] ^= 1;
    const options = new Imago.OpenOptions({format_name: 'raw'});
    const other = Imago.Image.open_storage(Imago.MemoryStorage.new(new GLib.Bytes(content)), options, null);
    const unequal = new Imago.CompareJob({first_image: disk, second_image: other});
    const done = wait(callback => unequal.run_async(NORMAL, null, callback));
    equal(unequal.run_finish(done), true);
    equal(unequal.comparison, Imago.Comparison.CONTENT);
    equal(unequal.difference_offset, content.length - 1);
});

tap.test('measure', () => {
    const options = new Imago.CreateOptions({format_name: 'qcow2', size: 10485760});
    const job = Imago.MeasureJob.new(null, options);
    equal(job.get_result(), null);
    equal(job.run(null), true);
    equal(job.get_result().get_required_size(), 327680);
    equal(job.get_result().get_fully_allocated_size(), 10813440);
    equal(job.result.get_has_bitmaps(), false);
    equal(job.result.get_bitmaps_size(), 0);
    const disk = openDisk();
    const copy = new Imago.MeasureJob({source: disk});
    equal(copy.run(null), true);
    equal(copy.result.required_size, disk.get_size());
});

tap.test('compact-job', () => withFolder(folder => {
    const file = Gio.File.new_for_path(`${folder}/x.qcow2`);
    const image = Imago.Image.create(file, new Imago.CreateOptions({format_name: 'qcow2', size: 1048576}), null);
    image.write_bytes(0, new GLib.Bytes(new Uint8Array(524288)), null);
    const job = Imago.CompactJob.new(image);
    job.set_lose_bitmaps(true);
    truth(job.lose_bitmaps, 'set');
    equal(job.run_finish(wait(callback => job.run_async(NORMAL, null, callback))), true);
    truth(job.get_bytes_freed() >= 524288, 'all of it was zero');
    const rewrite = Imago.CompactJob.new(image);
    rewrite.set_method(Imago.CompactMethod.REWRITE);
    equal(rewrite.method, Imago.CompactMethod.REWRITE);
    equal(rewrite.run(null), true);
    fails(Imago.Error, Imago.Error.CLOSED, () => image.read_bytes(0, 512, null));
    image.close(null);
}));

tap.test('commit-and-rebase', () => withFolder(folder => {
    const policy = Imago.SameDirectoryPolicy.new();
    const create = (name, more) => Imago.Image.create(Gio.File.new_for_path(`${folder}/${name}`),
        new Imago.CreateOptions({format_name: 'qcow2', size: 1048576, ...more}), null);
    const openTop = more => Imago.Image.open(Gio.File.new_for_path(`${folder}/top.qcow2`),
        new Imago.OpenOptions({format_name: 'qcow2', reference_policy: policy, writable: true, ...more}), null);
    create('base.qcow2', {}).close(null);
    create('top.qcow2', {
        backing_file: Gio.File.new_for_path(`${folder}/base.qcow2`), backing_format: 'qcow2',
        reference_policy: policy,
    }).close(null);
    let top = openTop({writable_backing: 1});
    top.write_bytes(0, new GLib.Bytes(new Uint8Array(65536).fill(7)), null);
    const commit = Imago.CommitJob.new(top, top.dup_backing());
    commit.set_keep(true);
    commit.set_rate_limit(1e12);
    equal([commit.keep, commit.rate_limit], [true, 1e12]);
    equal(commit.run(null), true);
    const again = new Imago.CommitJob({image: top});
    equal(again.run_finish(wait(callback => again.run_async(NORMAL, null, callback))), true);
    equal(top.dup_backing().read_bytes(65535, 1, null).toArray()[0], 7);
    top.close(null);
    top = openTop({});
    const rebase = Imago.RebaseJob.new(top, null, null, null);
    rebase.set_compress(true);
    rebase.set_rate_limit(1e12);
    equal([rebase.compress, rebase.rate_limit, rebase.name_only], [true, 1e12, false]);
    equal(rebase.run(null), true);
    top.close(null);
    top = openTop({});
    equal(top.query_info(null).get_backing_filename(), null);
    equal(top.read_bytes(65535, 1, null).toArray()[0], 7);
    const rename = Imago.RebaseJob.new(top, null, 'base.qcow2', 'qcow2');
    rename.set_name_only(true);
    equal(rename.run_finish(wait(callback => rename.run_async(NORMAL, null, callback))), true);
    top.close(null);
}));

// ---- all of it ----

tap.test('error-domain', () => {
    equal(GLib.quark_to_string(Imago.Error.quark()), 'imago-error-quark');
    equal([Imago.Error.FAILED, Imago.Error.CLOSED], [0, 14]);
});

tap.test('every-function-was-called', () => {
    equal(functions.map(([type, , name]) => [type, name].join('.')).filter(key => !called.has(key)), []);
    print(`# ${functions.length} functions and methods, all called`);
});

tap.main();
