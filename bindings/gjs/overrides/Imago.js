// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// What JavaScript expects of a disk image, on top of what the typelib says. Everything works without
// this file. With it an x_async call without a callback returns a promise, extents can be iterated, and
// a part of the disk can be had as a Uint8Array.

const {Gio, GLib} = imports.gi;

const EXTENTS_PER_CALL = 256;

// An x_async call without a callback returns a promise; the priority and the cancellable may be left out
// then. The callback, the cancellable and the priority are the last three arguments of all of them.
function promisify(owner, name) {
    const {length} = owner[name];
    Gio._promisify(owner, name, name.replace(/_async$/, '_finish'));
    const promised = owner[name];
    owner[name] = function (...args) {
        if (args.length === length - 3)
            args.push(GLib.PRIORITY_DEFAULT);
        if (args.length === length - 2)
            args.push(null);
        return promised.apply(this, args);
    };
}

function promisifyAll(owner) {
    for (const name of Object.getOwnPropertyNames(owner)) {
        if (name.endsWith('_async') && owner[name.replace(/_async$/, '_finish')])
            promisify(owner, name);
    }
}

// The classes and interfaces of the namespace.
function *typesOf(namespace) {
    for (const name of Object.getOwnPropertyNames(namespace)) {
        const type = namespace[name];
        if (typeof type === 'function' && type.prototype && type.$gtype)
            yield type;
    }
}

function *extentsOfArray() {
    // The array keeps what get () returns; a copy outlives it.
    for (let i = 0; i < this.get_n(); i++)
        yield this.get(i).copy();
}

function extendImage(Imago) {
    // Yields the extents of the disk, or of a part of it, a few at a time.
    Imago.Image.prototype.extents = function *(offset = 0, length = this.get_size() - offset,
        flags = Imago.MapFlags.NONE) {
        const end = offset + length;
        while (offset < end) {
            for (const extent of this.map_extents(offset, end - offset, EXTENTS_PER_CALL, flags, null)) {
                offset = extent.get_offset() + extent.get_length();
                yield extent;
            }
        }
    };

    // The bytes from @start to before @end as a Uint8Array, with the rules of Uint8Array.prototype.slice.
    Imago.Image.prototype.slice = function (start = 0, end = this.get_size()) {
        const size = this.get_size();
        const place = index => {
            const whole = Math.trunc(index) || 0;
            return whole < 0 ? Math.max(0, size + whole) : Math.min(whole, size);
        };
        const count = place(end) - place(start);
        return count > 0 ? this.read_bytes(place(start), count, null).toArray() : new Uint8Array();
    };
}

function _init() {
    const Imago = this;
    promisifyAll(Imago);
    for (const type of typesOf(Imago)) {
        promisifyAll(type);
        promisifyAll(type.prototype);
    }
    Imago.ExtentArray.prototype[Symbol.iterator] = extentsOfArray;
    extendImage(Imago);
}
