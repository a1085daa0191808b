// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// A storage written in JavaScript: a disk image in a Uint8Array. It is loaded from one file, changed, and saved to
// another. usage: gjs -m storage.js IMAGE.qcow2 OUTPUT.qcow2 TEXT

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import GObject from 'gi://GObject';
import Imago from 'gi://Imago?version=1.0';
import system from 'system';

const ArrayStorage = GObject.registerClass(class ArrayStorage extends Imago.Storage {
    // Room for more than there is spares a copy each time the storage grows.
    _init(content) {
        super._init({name: 'array', writable: true});
        this._room = new Uint8Array(content);
        this._size = content.length;
    }

    get content() {
        return this._room.subarray(0, this._size);
    }

    // Answers at once. To answer later keep the request, return true, and answer when you can.
    vfunc_submit(request) {
        const offset = request.get_offset();
        const length = request.get_length();

        switch (request.get_operation()) {
        case Imago.StorageOperation.READ:
            request.return_bytes(new GLib.Bytes(this._room.subarray(offset, offset + length)));
            break;
        case Imago.StorageOperation.QUERY_SIZE:
            request.return_size(this._size);
            break;
        case Imago.StorageOperation.WRITE:
            this._grow(offset + length);
            this._room.set(request.dup_bytes().toArray(), offset);
            request.return_done();
            break;
        case Imago.StorageOperation.WRITE_ZEROES:
            this._grow(offset + length);
            this._room.fill(0, offset, offset + length);
            request.return_done();
            break;
        case Imago.StorageOperation.TRUNCATE:
            // What is cut off must not come back when the storage grows again.
            this._room.fill(0, Math.min(offset, this._size), this._size);
            this._size = Math.min(offset, this._size);
            this._grow(offset);
            request.return_done();
            break;
        case Imago.StorageOperation.DISCARD: // space is left where it is
        case Imago.StorageOperation.FLUSH:   // nothing here outlives the program
            request.return_done();
            break;
        }
        return true;
    }

    _grow(size) {
        if (size > this._room.length) {
            const room = new Uint8Array(Math.max(size, 2 * this._room.length));
            room.set(this._room);
            this._room = room;
        }
        this._size = Math.max(this._size, size);
    }
});

function main(source, target, text) {
    const [, content] = Gio.File.new_for_path(source).load_contents(null);
    const storage = new ArrayStorage(content);
    const options = new Imago.OpenOptions({format_name: 'qcow2', writable: true});
    const image = Imago.Image.open_storage(storage, options, null);
    const bytes = new TextEncoder().encode(text);

    image.write_bytes(1000, bytes, null);
    print(new TextDecoder().decode(image.read_bytes(1000, bytes.length, null).toArray()));
    image.close(null);
    Gio.File.new_for_path(target).replace_contents(storage.content, null, false, Gio.FileCreateFlags.NONE, null);
    print(`${storage.content.length} bytes`);
}

main(...system.programArgs);
