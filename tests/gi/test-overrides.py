#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the Python overrides add: sequences, context managers, awaiting, errors, buffers."""

import array
import asyncio
import hashlib
import json
import mmap
import os
import pathlib
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import gi  # noqa: E402
import tap  # noqa: E402

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, GObject, Imago  # noqa: E402

DATA = pathlib.Path(tap.source_root()) / 'tests' / 'data'
FACTS = json.loads((DATA / 'samples.json').read_text())
DISK = DATA / 'disk.qcow2'
MIB = 1 << 20


def open_disk():
    return Imago.Image.open(DISK, format_name='qcow2', reference_policy=Imago.SameDirectoryPolicy.new())


def content():
    """The guest's view by other means than the overrides."""
    image = open_disk()
    data = image.read_bytes(0, image.get_size(), None).get_data()
    tap.equal(hashlib.sha256(data).hexdigest(), FACTS['disk.qcow2']['sha256'])
    return data


class Scratch:
    """A new qcow2 disk of 4 MiB in a folder of its own, open for writing."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix='imago-overrides-')
        self.path = os.path.join(self.folder.name, 'scratch.qcow2')
        Imago.Image.create(self.path, format_name='qcow2', size=4 * MIB).close(None)
        return self

    def open(self):
        return Imago.Image.open(self.path, format_name='qcow2', writable=True)

    def __exit__(self, *_):
        self.folder.cleanup()


def check_with_qemu(path):
    result = subprocess.run(['qemu-img', 'check', '-f', 'qcow2', path], env=tap.plain_environment(),
                            capture_output=True, text=True)
    tap.equal(result.returncode, 0, result.stdout + result.stderr)


# ---- with ----

@tap.test
def with_closes():
    with open_disk() as disk:
        tap.equal(disk.read_bytes(32768, 3).get_data(), b'\xeb\x3c\x90')
    tap.raises(Imago.ClosedError, disk.read_bytes, 0, 1)


@tap.test
def with_passes_exceptions_on():
    def body():
        nonlocal disk
        with open_disk() as disk:
            raise KeyError('mine')

    disk = None
    tap.raises(KeyError, body)
    tap.raises(Imago.ClosedError, disk.read_bytes, 0, 1)


@tap.test
def with_reports_what_closing_found():
    """A file that takes no more data: what is still in memory cannot be written."""
    with Scratch() as scratch:
        disk = scratch.open()
        disk[0:4] = b'data'
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            tap.raises(GLib.Error, leave, disk)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def leave(disk):
    with disk:
        pass


# ---- sequences ----

@tap.test
def slices_read():
    data = content()
    disk = open_disk()
    tap.equal(len(disk), len(data))
    tap.true(bool(disk), 'a disk is something')
    size = len(data)
    for key in (slice(0, 512), slice(32768, 32771), slice(None, 7), slice(-9, None), slice(-9, -3), slice(5, 5),
                slice(9, 3), slice(size - 4, size + 100), slice(size + 1, size + 9), slice(0, 8, 1), slice(100, 1100)):
        tap.equal(disk[key], data[key], str(key))
        tap.equal(type(disk[key]), bytes)
    tap.equal(disk[:], data, 'all of it')
    for index in (0, 32768, -1, -size, size - 1):
        tap.equal(disk[index], data[index], str(index))
    for index in (size, -size - 1):
        tap.raises(IndexError, lambda: disk[index])


@tap.test
def slices_refuse():
    disk = open_disk()
    tap.raises(ValueError, lambda: disk[0:10:2])
    tap.raises(ValueError, lambda: disk[::-1])
    tap.raises(ValueError, lambda: disk[0:1:0])
    tap.raises((TypeError, AttributeError), lambda: disk['0'])
    tap.raises(TypeError, iter, disk)
    tap.raises(TypeError, lambda: 0 in disk)
    tap.raises(TypeError, reversed, disk)
    tap.raises(Imago.ReadOnlyError, disk.__setitem__, slice(0, 4), b'data')


@tap.test
def an_empty_disk_is_true():
    empty = Imago.Image.open_storage(Imago.NullStorage.new(0), format_name='raw')
    tap.equal((len(empty), bool(empty), empty[:]), (0, True, b''))


@tap.test
def slices_write():
    wanted = bytearray(4 * MIB)
    with Scratch() as scratch:
        with scratch.open() as disk:
            for key, value in ((slice(3, 8), b'bytes'), (slice(-9, None), bytearray(b'bytearray')),
                               (slice(70000, 70010), memoryview(b'memoryview')), (slice(MIB, MIB), b''),
                               (slice(100, 105), GLib.Bytes.new(b'Bytes'))):
                disk[key] = value
                wanted[key] = value.get_data() if isinstance(value, GLib.Bytes) else value
            disk[77] = 0x5a
            wanted[77] = 0x5a
            tap.equal(disk[:], bytes(wanted))
            tap.raises(ValueError, disk.__setitem__, slice(0, 4), b'too long')
            tap.raises(ValueError, disk.__setitem__, slice(4 * MIB - 2, 5 * MIB), b'over the end')
            tap.raises(ValueError, disk.__setitem__, slice(0, 8, 2), b'four')
            tap.raises(ValueError, disk.__setitem__, 0, 256)
            for value in (4, [1, 2, 3, 4], 'text', None):
                tap.raises(TypeError, disk.__setitem__, slice(0, 4), value)
            tap.raises(IndexError, disk.__setitem__, 4 * MIB, 0)
            tap.raises(TypeError, disk.__delitem__, slice(0, 4))
        check_with_qemu(scratch.path)
        raw = scratch.path + '.raw'
        subprocess.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', scratch.path, raw],
                       env=tap.plain_environment(), check=True)
        tap.equal(pathlib.Path(raw).read_bytes(), bytes(wanted), 'what qemu-img reads')


@tap.test
def buffers_are_written():
    with Scratch() as scratch:
        with scratch.open() as disk:
            block = bytearray(os.urandom(MIB))
            disk.write_bytes(0, block)
            disk.write_bytes(MIB, memoryview(block)[::2])
            disk.write_bytes(offset=2 * MIB, bytes=bytes(block))
            tap.equal(disk[:MIB], bytes(block))
            tap.equal(disk[MIB:MIB + MIB // 2], bytes(block[::2]))
            tap.equal(disk[2 * MIB:3 * MIB], bytes(block))
            numbers = array.array('I', range(1000))
            disk.write_bytes(3 * MIB, numbers)
            tap.equal(disk[3 * MIB:3 * MIB + 4000], numbers.tobytes())
            with mmap.mmap(-1, 4096) as memory:
                memory[:4] = b'mmap'
                disk[-4096:] = memory
            tap.equal(disk[-4096:], b'mmap' + bytes(4092))
            tap.raises(TypeError, disk.write_bytes, 0, 'text')
    memory = Imago.MemoryStorage.new(bytearray(b'0123'))
    tap.equal(memory.read_bytes(1, 2).get_data(), b'12')


@tap.test
def readinto_fills():
    data = content()
    disk = open_disk()
    buffer = bytearray(b'x' * 1000)
    tap.equal(disk.readinto(32768, memoryview(buffer)[10:500]), 490)
    tap.equal(bytes(buffer), b'x' * 10 + data[32768:32768 + 490] + b'x' * 500)
    tap.equal(disk.readinto(0, bytearray()), 0)
    numbers = array.array('I', [0] * 100)
    tap.equal(disk.readinto(32768, numbers), 400)
    tap.equal(numbers.tobytes(), data[32768:32768 + 400])
    tap.raises(TypeError, disk.readinto, 0, bytes(8))
    tap.raises(TypeError, disk.readinto, 0.5, bytearray(8))
    tap.raises(TypeError, disk.readinto, 0, bytearray(8), 'a cancellable')
    for offset in (-1, 1 << 64, (1 << 64) + 512):
        tap.raises(OverflowError, disk.readinto, offset, bytearray(8))
    error = tap.raises(Imago.OutOfRangeError, disk.readinto, len(disk) - 4, bytearray(8))
    tap.true(error.matches(Imago.Error.quark(), Imago.Error.OUT_OF_RANGE), error.message)
    cancelled = Gio.Cancellable()
    cancelled.cancel()
    error = tap.raises(GLib.Error, disk.readinto, 0, bytearray(8), cancelled)
    tap.true(error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED), error.message)
    disk.close()
    tap.raises(Imago.ClosedError, disk.readinto, 0, bytearray(8))


class BytesStorage(Imago.Storage):
    """Serves requests for reading from a bytes object, in the thread that made it."""

    def __init__(self, data):
        super().__init__()
        self.data = data
        self.threads = set()

    def do_submit(self, request):
        self.threads.add(threading.current_thread())
        if request.get_operation() == Imago.StorageOperation.QUERY_SIZE:
            request.return_size(len(self.data))
        elif request.get_operation() == Imago.StorageOperation.READ:
            end = request.get_offset() + request.get_length()
            request.return_bytes(self.data[request.get_offset():end])
        else:
            raise GLib.Error.new_literal(Imago.Error.quark(), 'only for reading', Imago.Error.READ_ONLY)
        return True


@tap.test
def readinto_asks_a_storage_in_python():
    data = os.urandom(MIB)
    storage = BytesStorage(data)
    disk = Imago.Image.open_storage(storage, format_name='raw')
    buffer = bytearray(1000)
    disk.readinto(5000, buffer)
    tap.equal(bytes(buffer), data[5000:6000])
    tap.equal(disk[70000:70100], data[70000:70100])
    tap.equal(storage.threads, {threading.main_thread()})

    async def main():
        return (await disk.read_bytes_async(900000, 5000)).get_data()

    tap.equal(Imago.run(main()), data[900000:905000])
    tap.equal(storage.threads, {threading.main_thread()})


@tap.test
def extents_are_walked():
    disk = open_disk()
    extents = list(disk.extents())
    tap.equal(extents[0].get_offset(), 0)
    for before, after in zip(extents, extents[1:]):
        tap.equal(before.get_offset() + before.get_length(), after.get_offset())
    tap.equal(extents[-1].get_offset() + extents[-1].get_length(), len(disk))
    part = list(disk.extents(1000, 5000))
    tap.equal((part[0].get_offset(), sum(e.get_length() for e in part)), (1000, 5000))
    tap.equal(list(disk.extents(0, 0)), [])
    array = disk.map_extents(0, len(disk), 100, Imago.MapFlags.NONE)
    tap.equal((len(array), array[-1].get_offset()), (array.get_n(), array.get(array.get_n() - 1).get_offset()))
    tap.raises(IndexError, lambda: array[len(array)])


@tap.test
def extents_are_walked_in_steps():
    """More extents than one call returns, and none is asked for before it is needed."""
    with Scratch() as scratch:
        with Imago.Image.create(scratch.path, format_name='qcow2', size=40 * MIB, cluster_size=4096,
                                overwrite=True) as disk:
            for place in range(0, 1200):
                disk[place * 8192] = 1
            calls = []
            ask = disk.map_extents
            disk.map_extents = lambda *arguments: (calls.append(arguments), ask(*arguments))[1]
            walk = disk.extents()
            tap.equal(calls, [])
            next(walk)
            tap.equal(len(calls), 1)
            rest = list(walk)
            tap.true(len(calls) > 4 and len(rest) > 2000, f'{len(calls)} calls for {len(rest)} extents')


# ---- errors ----

@tap.test
def each_code_has_a_class():
    nicks = [code for code in dir(Imago.Error) if code.isupper()]
    for nick in nicks:
        kind = getattr(Imago, ''.join(word.capitalize() for word in nick.split('_')) + 'Error')
        code = getattr(Imago.Error, nick)
        error = GLib.Error.new_literal(Imago.Error.quark(), 'text', code)
        tap.equal(type(error), kind)
        tap.true(isinstance(error, (Imago.ImageError)) and isinstance(error, GLib.Error), kind)
        tap.true(error.matches(Imago.Error.quark(), code), nick)
        tap.equal((error.message, error.code), ('text', int(code)))
        mine = kind('mine')
        tap.true(mine.matches(Imago.Error.quark(), code), f'{nick} made in Python')
        again = pickle.loads(pickle.dumps(mine))
        tap.equal((type(again), again.message, again.domain, again.code), (kind, 'mine', mine.domain, int(code)))
    tap.true(len(nicks) > 15, nicks)


@tap.test
def errors_are_caught_by_class():
    tap.raises(Imago.ReferenceDeniedError, Imago.Image.open, str(DISK), format_name='qcow2')
    error = tap.raises(GLib.Error, Imago.Image.open, '/nonexistent/disk', format_name='qcow2')
    tap.equal(type(error), GLib.Error, 'an error of another domain')
    tap.true(error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_FOUND), error.message)
    stream = open_disk().create_input_stream()
    tap.true(stream.read_bytes(4, None).get_size() == 4, 'the stream reads')


@tap.test
def hooks_raise_errors_by_class():
    class Rom(BytesStorage):
        def do_submit(self, request):
            if request.get_operation() == Imago.StorageOperation.READ:
                raise Imago.CorruptError('the ROM has a hole')
            return super().do_submit(request)

    error = tap.raises(Imago.CorruptError, Rom(bytes(1000)).read_bytes, 0, 10)
    tap.equal(error.message, 'the ROM has a hole')


@tap.test
def options_are_keywords():
    made = Imago.OpenOptions(format_name='qcow2')
    tap.raises(TypeError, Imago.Image.open, DISK, made, writable=True)
    tap.raises(TypeError, Imago.Image.open, DISK, formatname='qcow2')
    tap.raises(Imago.ReferenceDeniedError, Imago.Image.open, Gio.File.new_for_path(str(DISK)), made, None)
    tap.equal([f.get_name() for f in Imago.inspect(DISK).get_formats()], ['qcow2'])


@tap.test
def properties_take_paths():
    with Scratch() as scratch:
        over = scratch.path + '.over'
        with Imago.Image.create(over, format_name='qcow2', backing_file=pathlib.Path(scratch.path),
                                backing_format='qcow2') as disk:
            tap.equal(len(disk), 4 * MIB)
        options = Imago.CreateOptions(format_name='qcow2', backing_file=scratch.path, backing_format='qcow2')
        tap.equal(options.props.backing_file.get_path(), scratch.path)
        with Imago.Image.open(scratch.path, format_name='qcow2') as disk:
            Imago.ConvertJob(source=disk, destination=scratch.path + '.raw').run(None)
        tap.equal(os.path.getsize(scratch.path + '.raw'), 4 * MIB)
    tap.equal(Imago.MemoryStorage(bytes=b'0123').read_bytes(1, 2).get_data(), b'12')


# ---- awaiting ----

@tap.test
def awaits():
    async def main():
        image = await Imago.Image.open_async(DISK, format_name='qcow2',
                                             reference_policy=Imago.SameDirectoryPolicy.new())
        async with image as disk:
            parts = await asyncio.gather(*(disk.read_bytes_async(at, 65536) for at in range(0, len(disk), 65536)))
            data = b''.join(part.get_data() for part in parts)
            info = await disk.query_info_async()
            tap.equal(info.get_virtual_size(), len(data))
        try:
            await disk.read_bytes_async(0, 1)
        except Imago.ClosedError:
            return hashlib.sha256(data).hexdigest()

    tap.equal(Imago.run(main()), FACTS['disk.qcow2']['sha256'])


@tap.test
def awaits_beside_the_rest_of_asyncio():
    async def main():
        tap.equal(await asyncio.wait_for(asyncio.sleep(0.01, 'slept'), 10), 'slept')
        process = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1,
                                                       env=tap.plain_environment())
        output, _ = await process.communicate(b'x' * 100000)
        tap.equal(len(output), 100000)
        tap.equal(await asyncio.to_thread(threading.current_thread) is threading.main_thread(), False)
        inspection = await Imago.inspect_async(DISK)
        names = [f.get_name() for f in await Imago.Format.probe_async(Imago.FileStorage.open(DISK, 0))]
        return [f.get_name() for f in inspection.get_formats()], names

    tap.equal(Imago.run(main()), (['qcow2'], ['qcow2']))


class SlowPolicy(GObject.Object, Imago.ReferencePolicy):
    """Leaves every question open, so that opening waits until it is cancelled."""

    def __init__(self, asked):
        super().__init__()
        self.asked = asked
        self.kept = []

    def do_decide(self, reference):
        self.kept.append(reference)
        self.asked()
        return True


@tap.test
def cancelling_the_task_cancels_the_call():
    """That call and no other that was given the same cancellable."""
    async def main(scratch):
        cancellable = Gio.Cancellable()
        with scratch.open() as disk:
            disk[:] = os.urandom(4 * MIB)
            job = Imago.ConvertJob.new(disk, scratch.path + '.copy')
            job.set_rate_limit(MIB // 8)
            copying = asyncio.ensure_future(job.run_async(cancellable=cancellable))
            while job.get_bytes_done() == 0:
                await asyncio.sleep(0.01)
            copying.cancel()
            await asyncio.wait([copying])
            while job.props.phase != Imago.JobPhase.DONE:
                await asyncio.sleep(0.01)
            tap.true(copying.cancelled() and not cancellable.is_cancelled(), 'only the call')
            tap.true(not os.path.exists(scratch.path + '.copy'), 'the copy was not made')
            await disk.read_bytes_async(0, 10, cancellable=cancellable)

    with Scratch() as scratch:
        Imago.run(main(scratch))


@tap.test
def cancelling_the_call_is_an_error():
    async def main():
        asked = asyncio.Event()
        cancellable = Gio.Cancellable()
        opening = asyncio.ensure_future(Imago.Image.open_async(DISK, Imago.OpenOptions(
            format_name='qcow2', reference_policy=SlowPolicy(asked.set)), cancellable=cancellable))
        await asyncio.wait_for(asked.wait(), 20)
        tap.true(not opening.done(), 'in flight')
        cancellable.cancel()
        for call in (opening, open_disk().read_bytes_async(0, 10, cancellable=cancellable)):
            try:
                await call
            except GLib.Error as error:
                tap.true(error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED), error.message)
            else:
                tap.true(False, 'it was cancelled')

    Imago.run(main())


@tap.test
def a_callback_is_still_called():
    loop = GLib.MainLoop()
    results = []

    def done(source, result):
        results.append(source.read_bytes_finish(result).get_data())
        loop.quit()

    disk = open_disk()
    tap.equal(disk.read_bytes_async(32768, 3, GLib.PRIORITY_DEFAULT, None, done), None)
    loop.run()
    disk.read_bytes_async(32768, 3, GLib.PRIORITY_DEFAULT, None, callback=done)
    loop.run()
    tap.equal(results, [b'\xeb\x3c\x90'] * 2)


@tap.test
def another_loop_is_refused():
    async def main():
        await open_disk().read_bytes_async(0, 1)

    error = tap.raises(RuntimeError, asyncio.run, main())
    tap.true('Imago.run' in str(error), error)


@tap.test
def awaits_in_a_thread():
    results = []

    def work():
        context = GLib.MainContext.new()
        context.push_thread_default()
        try:
            results.append(Imago.run(read()))
        finally:
            context.pop_thread_default()

    async def read():
        return (await open_disk().read_bytes_async(32768, 3)).get_data()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    tap.equal(results, [b'\xeb\x3c\x90'])


@tap.test
def an_interrupt_ends_the_program():
    async def main():
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.get_running_loop().create_future()

    tap.raises(KeyboardInterrupt, Imago.run, main())


tap.main()
