// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// What the GJS override adds: promises, iteration, slices.
// usage: gjs -m test-overrides.js LIST-OF-FUNCTIONS.json

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Imago from 'gi://Imago?version=1.0';
import System from 'system';

import * as tap from './tap.js';
import {equal, raises, truth} from './tap.js';

const DATA = `${GLib.getenv('IMAGO_SOURCE_ROOT')}/tests/data`;
const decoder = new TextDecoder();
const load = path => GLib.file_get_contents(path)[1];
const FACTS = JSON.parse(decoder.decode(load(`${DATA}/samples.json`)));
const functions = JSON.parse(decoder.decode(load(System.programArgs[0])));
const file = Gio.File.new_for_path(`${DATA}/disk.qcow2`);

function options() {
    return new Imago.OpenOptions({
        format_name: 'qcow2',
        reference_policy: Imago.SameDirectoryPolicy.new(),
    });
}

const openDisk = () => Imago.Image.open(file, options(), null);

// Runs a main loop, but not for ever, until the promise is settled; returns or throws what it holds.
function settle(promise) {
    const loop = new GLib.MainLoop(null, false);
    let outcome = {error: new Error('the promise was not settled in time')};
    promise.then(value => (outcome = {value}), error => (outcome = {error})).finally(() => loop.quit());
    const late = GLib.timeout_add_seconds(GLib.PRIORITY_DEFAULT, 20, () => loop.quit() ?? GLib.SOURCE_CONTINUE);
    loop.run();
    GLib.source_remove(late);
    if ('error' in outcome)
        throw outcome.error;
    return outcome.value;
}

tap.test('every async call is promised', () => {
    let count = 0;
    for (const [type, kind, name] of functions) {
        if (!name.endsWith('_async'))
            continue;
        const holder = type === null ? Imago : Imago[type];
        const owner = kind === 'method' ? holder.prototype : holder;
        truth(owner[`_original_${name}`] !== undefined, `${type}.${name}`);
        count++;
    }
    truth(count > 20, `${count} asynchronous calls`);
});

tap.test('promises', () => {
    const content = settle((async () => {
        const image = await Imago.Image.open_async(file, options());
        const parts = [];
        for (let offset = 0; offset < image.get_size(); offset += 1 << 20)
            parts.push(image.read_bytes_async(offset, 1 << 20, GLib.PRIORITY_LOW));
        const checksum = new GLib.Checksum(GLib.ChecksumType.SHA256);
        for (const bytes of await Promise.all(parts))
            checksum.update(bytes.toArray());
        equal((await image.query_info_async()).get_virtual_size(), image.get_size());
        equal(await image.close_async(GLib.PRIORITY_DEFAULT, null), true);
        return checksum.get_string();
    })());
    equal(content, FACTS['disk.qcow2'].sha256);
});

tap.test('promises of functions', () => {
    const inspection = settle(Imago.inspect_async(file));
    equal(inspection.get_formats().get_item(0).get_name(), 'qcow2');
    const storage = Imago.FileStorage.open(file, Imago.StorageFlags.NONE, null);
    equal(settle(Imago.Format.probe_async(storage)).get_n_items(), 1);
    equal(settle(storage.query_size_async()), [load(`${DATA}/disk.qcow2`).length]);
});

tap.test('promises that fail', () => {
    const image = openDisk();
    const cancellable = new Gio.Cancellable();
    cancellable.cancel();
    let error = raises(() => settle(image.read_bytes_async(0, 10, GLib.PRIORITY_DEFAULT, cancellable)));
    truth(error.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED), error);
    error = raises(() => settle(image.read_bytes_async(image.get_size(), 10)));
    truth(error.matches(Imago.Error, Imago.Error.OUT_OF_RANGE), error);
});

tap.test('a callback is still called', () => {
    const loop = new GLib.MainLoop(null, false);
    let bytes = null;
    const returned = openDisk().read_bytes_async(32768, 3, GLib.PRIORITY_DEFAULT, null, (source, result) => {
        bytes = source.read_bytes_finish(result);
        loop.quit();
    });
    equal(returned, undefined);
    loop.run();
    equal([...bytes.toArray()], [0xeb, 0x3c, 0x90]);
});

tap.test('a job is promised', () => {
    const folder = GLib.dir_make_tmp('imago-gjs-XXXXXX');
    const output = `${folder}/disk.raw`;
    const job = Imago.ConvertJob.new(openDisk(), Gio.File.new_for_path(output));
    equal(settle(job.run_async()), true);
    equal(GLib.compute_checksum_for_data(GLib.ChecksumType.SHA256, load(output)), FACTS['disk.qcow2'].sha256);
    GLib.unlink(output);
    GLib.rmdir(folder);
});

tap.test('extents', () => {
    const image = openDisk();
    let end = 0;
    for (const extent of image.extents()) {
        equal(extent.get_offset(), end);
        end += extent.get_length();
    }
    equal(end, image.get_size());
    const part = [...image.extents(1000, 5000)];
    equal(part[0].get_offset(), 1000);
    equal(part.reduce((sum, extent) => sum + extent.get_length(), 0), 5000);
    const array = image.map_extents(0, image.get_size(), 100, Imago.MapFlags.NONE, null);
    equal([...array].length, array.get_n());
});

tap.test('slices', () => {
    const image = openDisk();
    const all = image.slice();
    equal(GLib.compute_checksum_for_data(GLib.ChecksumType.SHA256, all), FACTS['disk.qcow2'].sha256);
    for (const [start, end] of [[0, 512], [32768, 32771], [-9, undefined], [-9, -3], [5, 5], [9, 3],
        [32768.7, 32771.2], [-9.9, -3.9], [NaN, 4], [null, 4], ['1', '3'], [-Infinity, 4], [all.length - 4, Infinity],
        [all.length - 4, all.length + 100], [all.length + 1, all.length + 9]])
        equal([...image.slice(start, end)], [...all.slice(start, end)], `${start}, ${end}`);
});

tap.main();
