// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Shows the partition table of a disk, MBR or GPT.
// usage: gjs -m partitions.js DISK.qcow2

import Gio from 'gi://Gio';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

const SECTOR = 512;
const PROTECTIVE = 'ee'; // the one entry of an MBR that stands before a GPT

const hex = (number, digits) => number.toString(16).padStart(digits, '0').toUpperCase();

function read(disk, offset, count) {
    const array = disk.read_bytes(offset, count, null).toArray();
    return new DataView(array.buffer, array.byteOffset, array.byteLength);
}

function *mbrPartitions(disk) {
    const sector = read(disk, 0, SECTOR);
    if (sector.getUint16(510, true) !== 0xaa55)
        return;
    for (let i = 0; i < 4; i++) {
        const entry = 446 + 16 * i;
        const type = sector.getUint8(entry + 4);
        if (type !== 0) {
            yield {number: i + 1, start: sector.getUint32(entry + 8, true),
                count: sector.getUint32(entry + 12, true), type: hex(type, 2).toLowerCase(), name: ''};
        }
    }
}

// The first three parts of a GUID are little-endian numbers, the rest are bytes.
function guid(view, offset) {
    const bytes = Array.from({length: 8}, (_, i) => hex(view.getUint8(offset + 8 + i), 2)).join('');
    return [hex(view.getUint32(offset, true), 8), hex(view.getUint16(offset + 4, true), 4),
        hex(view.getUint16(offset + 6, true), 4), bytes.slice(0, 4), bytes.slice(4)].join('-');
}

function nameAt(view, offset) {
    let name = '';
    for (let i = 0; i < 36 && view.getUint16(offset + 2 * i, true) !== 0; i++)
        name += String.fromCharCode(view.getUint16(offset + 2 * i, true));
    return name;
}

function *gptPartitions(disk) {
    const header = read(disk, SECTOR, SECTOR);
    const table = Number(header.getBigUint64(72, true));
    const count = header.getUint32(80, true);
    const size = header.getUint32(84, true);
    // The disk may lie about itself: no honest table is larger than this.
    if (header.getBigUint64(0) !== 0x4546492050415254n || count > 1024 || size < 128 || size > 4096)
        throw new Error('the partition table is damaged');
    const entries = read(disk, table * SECTOR, count * size);
    for (let i = 0; i < count; i++) {
        const type = guid(entries, i * size);
        const start = Number(entries.getBigUint64(i * size + 32, true));
        const last = Number(entries.getBigUint64(i * size + 40, true));
        if (/[1-9A-F]/.test(type))
            yield {number: i + 1, start, count: last - start + 1, type, name: nameAt(entries, i * size + 56)};
    }
}

function show(path) {
    const options = new Imago.OpenOptions({
        format_name: 'qcow2',
        reference_policy: Imago.SameDirectoryPolicy.new(),
    });
    const disk = Imago.Image.open(Gio.File.new_for_path(path), options, null);
    let partitions = [...mbrPartitions(disk)];
    if (partitions.some(({type}) => type === PROTECTIVE))
        partitions = [...gptPartitions(disk)];
    for (const {number, start, count, type, name} of partitions)
        print(`${number}: ${count * SECTOR} bytes at ${start * SECTOR}, type ${type}${name ? `, ${name}` : ''}`);
    disk.close(null);
}

try {
    show(System.programArgs[0]);
} catch (error) {
    printerr(error.message);
    System.exit(1);
}
