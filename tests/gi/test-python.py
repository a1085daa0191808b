#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls every public method from Python and checks the data."""

import gzip
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import gi  # noqa: E402
import tap  # noqa: E402

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, GObject, Imago  # noqa: E402

import coverage  # noqa: E402

DATA = pathlib.Path(tap.source_root()) / 'tests' / 'data'
FACTS = json.loads((DATA / 'samples.json').read_text())
HAS_ZSTD = 'zstd' in os.environ.get('IMAGO_COMPRESSIONS', 'zstd').split()
GIR = pathlib.Path(tap.build_root()) / 'imago-glib' / 'Imago-1.0.gir'
recorder = coverage.Recorder(Imago, GIR)

NORMAL = GLib.PRIORITY_DEFAULT


# ---- helpers ----

def sample(name='disk.qcow2'):
    return Gio.File.new_for_path(str(DATA / name))


def options(**properties):
    properties.setdefault('format_name', 'qcow2')
    properties.setdefault('reference_policy', Imago.SameDirectoryPolicy.new())
    return Imago.OpenOptions(**properties)


def open_disk(**properties):
    return Imago.Image.open(sample(), options(**properties), None)


def wait(starter, *arguments, context=None):
    """Calls an async starter and runs a main loop until its callback; returns the result."""
    loop = GLib.MainLoop(context)
    results = []

    def done(_source, result):
        results.append(result)
        loop.quit()

    starter(*arguments, done)
    tap.equal(results, [], 'callbacks before the starter returned')
    run(loop)
    tap.equal(len(results), 1, 'callbacks')
    return results[0]


def run(loop):
    """Runs the loop, but not for ever."""
    late = []
    source = GLib.timeout_source_new_seconds(20)
    source.set_callback(lambda *_: (late.append(True), loop.quit()) and False)
    source.attach(loop.get_context())
    loop.run()
    source.destroy()
    tap.true(not late, 'the main loop was stopped in time')


def fails(code, function, *arguments, domain=None):
    error = tap.raises(GLib.Error, function, *arguments)
    domain = domain or Imago.Error.quark()
    tap.true(error.matches(domain, code), f'{error.domain} {error.code} {error.message!r} matches {code}')
    return error


def digest_of(image):
    """SHA-256 of the guest's view, read in uneven pieces."""
    digest = hashlib.sha256()
    offset = 0
    while offset < image.get_size():
        count = min(1000003, image.get_size() - offset)
        digest.update(image.read_bytes(offset, count, None).get_data())
        offset += count
    return digest.hexdigest()


def names_of(model):
    return [item.get_name() for item in model]


class Folder:
    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='imago-gi-'))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


# ---- formats ----

@tap.test
def formats():
    formats = Imago.Format.list()
    tap.true(isinstance(formats, Gio.ListModel), 'a list model')
    names = names_of(formats)
    tap.true('qcow2' in names and 'raw' in names, names)
    qcow2 = Imago.Format.lookup('qcow2')
    tap.equal(qcow2.get_name(), 'qcow2')
    tap.true('qcow2' in qcow2.get_title().lower(), qcow2.get_title())
    tap.true('application/x-qemu-disk' in qcow2.get_mime_types(), qcow2.get_mime_types())
    tap.true('qcow2' in [suffix.lstrip('.') for suffix in qcow2.get_suffixes()], qcow2.get_suffixes())
    flags = qcow2.get_flags()
    for flag in (Imago.FormatFlags.BACKING_FILE, Imago.FormatFlags.DATA_FILE,
                 Imago.FormatFlags.COMPRESSED, Imago.FormatFlags.SNAPSHOTS):
        tap.true(flags & flag, flag)
    tap.true(Imago.Format.lookup('raw').get_flags() & Imago.FormatFlags.CONVERT_TARGET, 'raw can be made')
    tap.equal(Imago.Format.lookup('floppy of sand'), None)


@tap.test
def probe():
    storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, None)
    tap.equal(names_of(Imago.Format.probe(storage, None)), ['qcow2'])
    result = wait(Imago.Format.probe_async, storage, NORMAL, None)
    tap.equal(names_of(Imago.Format.probe_finish(result)), ['qcow2'])
    zeroes = Imago.NullStorage.new(1 << 20)
    tap.equal(names_of(Imago.Format.probe(zeroes, None)), [])


# ---- storages ----

@tap.test
def file_storage():
    content = (DATA / 'disk.qcow2').read_bytes()
    storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, None)
    tap.true(storage.get_name().endswith('disk.qcow2'), storage.get_name())
    tap.equal(storage.query_size(None), (True, len(content)))
    tap.equal(storage.read_bytes(3, 1000, None).get_data(), content[3:1003])
    tap.true(storage.get_file().equal(sample()), 'the file')

    result = wait(Imago.FileStorage.open_async, sample(), Imago.StorageFlags.NONE, NORMAL, None)
    storage = Imago.FileStorage.open_finish(result)
    result = wait(storage.read_bytes_async, 512, 77, NORMAL, None)
    tap.equal(storage.read_bytes_finish(result).get_data(), content[512:589])
    result = wait(storage.query_size_async, NORMAL, None)
    tap.equal(storage.query_size_finish(result), (True, len(content)))

    fd = os.open(DATA / 'disk.qcow2', os.O_RDONLY)
    try:
        storage = Imago.FileStorage.open_fd(fd, 'from outside', Imago.StorageFlags.NONE)
    finally:
        os.close(fd)
    tap.equal(storage.get_name(), 'from outside')
    tap.equal(storage.get_file(), None)
    tap.equal(storage.read_bytes(0, 4, None).get_data(), b'QFI\xfb')


@tap.test
def file_storage_refuses():
    nowhere = Gio.File.new_for_path('/nonexistent/disk')
    fails(Gio.IOErrorEnum.NOT_FOUND, Imago.FileStorage.open, nowhere, Imago.StorageFlags.NONE, None,
          domain=Gio.io_error_quark())
    with Folder() as folder:
        fails(Imago.Error.NOT_REGULAR_FILE, Imago.FileStorage.open,
              Gio.File.new_for_path(str(folder)), Imago.StorageFlags.NONE, None)
        os.mkfifo(folder / 'fifo')
        fails(Imago.Error.NOT_REGULAR_FILE, Imago.FileStorage.open,
              Gio.File.new_for_path(str(folder / 'fifo')), Imago.StorageFlags.NONE, None)


@tap.test
def small_storages():
    memory = Imago.MemoryStorage.new(GLib.Bytes.new(b'0123456789'))
    tap.equal(memory.query_size(None), (True, 10))
    tap.equal(memory.read_bytes(2, 3, None).get_data(), b'234')
    window = Imago.WindowStorage.new(memory, 4, 5)
    tap.equal(window.query_size(None), (True, 5))
    tap.equal(window.read_bytes(1, 4, None).get_data(), b'5678')
    null = Imago.NullStorage.new(1 << 40)
    tap.equal(null.query_size(None), (True, 1 << 40))
    tap.equal(null.read_bytes((1 << 40) - 8, 8, None).get_data(), bytes(8))


# ---- opening ----

@tap.test
def open_and_read():
    image = open_disk()
    tap.equal(image.get_size(), FACTS['disk.qcow2']['size'])
    tap.equal(digest_of(image), FACTS['disk.qcow2']['sha256'])
    tap.equal(image.get_format().get_name(), 'qcow2')
    tap.true(image.get_storage().get_name().endswith('disk.qcow2'), 'its storage')
    backing = image.dup_backing()
    tap.equal(digest_of(backing), FACTS['base.qcow2']['sha256'])
    tap.equal(backing.dup_backing(), None)
    tap.true(image.close(None), 'closed')
    fails(Imago.Error.CLOSED, image.read_bytes, 0, 1, None)


@tap.test
def open_async():
    result = wait(Imago.Image.open_async, sample(), options(), NORMAL, None)
    image = Imago.Image.open_finish(result)
    tap.equal(digest_of(image), FACTS['disk.qcow2']['sha256'])
    result = wait(image.read_bytes_async, 32768, 3, NORMAL, None)
    tap.equal(image.read_bytes_finish(result).get_data(), b'\xeb\x3c\x90')
    result = wait(image.close_async, NORMAL, None)
    tap.true(image.close_finish(result), 'closed')
    result = wait(image.read_bytes_async, 0, 1, NORMAL, None)
    fails(Imago.Error.CLOSED, image.read_bytes_finish, result)


@tap.test
def open_storage():
    content = GLib.Bytes.new((DATA / 'base.qcow2').read_bytes())
    image = Imago.Image.open_storage(Imago.MemoryStorage.new(content), options(), None)
    tap.equal(digest_of(image), FACTS['base.qcow2']['sha256'])
    result = wait(Imago.Image.open_storage_async, Imago.MemoryStorage.new(content), options(), NORMAL, None)
    tap.equal(digest_of(Imago.Image.open_storage_finish(result)), FACTS['base.qcow2']['sha256'])

    packed = GLib.Bytes.new(b'front' + content.get_data() + b'back')
    window = Imago.WindowStorage.new(Imago.MemoryStorage.new(packed), 5, content.get_size())
    image = Imago.Image.open_storage(window, options(), None)
    tap.equal(digest_of(image), FACTS['base.qcow2']['sha256'])


@tap.test
def create():
    with Folder() as folder:
        file = Gio.File.new_for_path(str(folder / 'new.qcow2'))
        made = Imago.CreateOptions.new()
        made.props.format_name = 'qcow2'
        made.props.size = 1 << 40
        made.props.compression_type = Imago.CompressionType.ZSTD if HAS_ZSTD else Imago.CompressionType.ZLIB
        tap.equal((made.props.check_backing, made.props.preallocation), (True, Imago.Preallocation.NONE))
        image = Imago.Image.create(file, made, None)
        tap.equal((image.get_size(), image.get_format().get_name()), (1 << 40, 'qcow2'))
        image.close(None)
        tap.equal(Imago.Image.open(file, options(), None).query_info(None).get_compression_type(),
                  'zstd' if HAS_ZSTD else 'zlib')
        fails(Gio.IOErrorEnum.EXISTS, Imago.Image.create, file, made, None, domain=Gio.io_error_quark())

        over = Imago.CreateOptions(format_name='qcow2', backing_file=file, backing_format='qcow2')
        above = Gio.File.new_for_path(str(folder / 'above.qcow2'))
        result = wait(Imago.Image.create_async, above, over, NORMAL, None)
        image = Imago.Image.create_finish(result)
        tap.equal(image.get_size(), 1 << 40)
        tap.equal(image.query_info(None).get_backing_filename(), 'new.qcow2')
        tap.equal(image.dup_backing().get_size(), 1 << 40)
        image.close(None)

        # Version 2 has no zstd, and a build without it has none at all.
        made.props.compression_type = Imago.CompressionType.ZSTD
        made.props.overwrite = True
        made.props.version = 2
        error = fails(Imago.Error.INVALID_OPTION, Imago.Image.create, file, made, None)
        tap.true('zstd' in error.message, error.message)
        for format_name in ('qcow2', 'raw'):
            for size in ((1 << 64) - 1, 1 << 63):
                much = Imago.CreateOptions(format_name=format_name, size=size)
                error = fails(Imago.Error.INVALID_OPTION, Imago.Image.create,
                              Gio.File.new_for_path(str(folder / 'much')), much, None)
                tap.true(f' {size} bytes' in error.message, error.message)


@tap.test
def open_snapshot():
    image = open_disk(snapshot='before-upgrade')
    tap.equal(digest_of(image), FACTS['disk.qcow2@before-upgrade']['sha256'])
    error = fails(Imago.Error.SNAPSHOT_NOT_FOUND, Imago.Image.open, sample(), options(snapshot='after'), None)
    tap.true('after' in error.message, error.message)


@tap.test
def open_options_setters():
    made = Imago.OpenOptions.new()
    made.set_format_name('qcow2')
    made.set_snapshot('1')
    made.set_reference_policy(Imago.SameDirectoryPolicy.new())
    made.set_defer_references(True)
    made.set_writable(True)
    made.set_writable(False)
    made.props.locking = Imago.Locking.ON
    made.props.force_share = True
    tap.equal((made.props.format_name, made.props.snapshot, made.props.defer_references),
              ('qcow2', '1', True))
    image = Imago.Image.open(sample(), made, None)
    fails(Imago.Error.REFERENCES_PENDING, image.read_bytes, 0, 1, None)
    image.open_references(None)
    tap.equal(digest_of(image), FACTS['disk.qcow2@before-upgrade']['sha256'])


@tap.test
def two_phases():
    image = open_disk(defer_references=True)
    references = list(image.list_references())
    tap.equal(len(references), 1)
    reference = references[0]
    tap.equal(reference.get_role(), Imago.ReferenceRole.BACKING_FILE)
    tap.equal(reference.get_name(), 'base.qcow2')
    tap.equal(reference.dup_display_name(), '“base.qcow2”')
    tap.equal(reference.dup_format_name(), 'qcow2')

    result = wait(image.open_references_async, NORMAL, None)
    tap.true(image.open_references_finish(result), 'opened')
    tap.equal(digest_of(image), FACTS['disk.qcow2']['sha256'])

    other = Imago.Image.open_storage(Imago.NullStorage.new(4 << 20), Imago.OpenOptions(format_name='raw'), None)
    image = open_disk(defer_references=True)
    tap.true(image.set_backing(other), 'overridden')
    image.open_references(None)
    tap.equal(image.read_bytes(510, 2, None).get_data(), bytes(2))

    alone = open_disk(defer_references=True)
    alone.set_backing(None)
    alone.open_references(None)
    tap.equal(alone.dup_backing(), None)
    tap.equal(alone.read_bytes(510, 2, None).get_data(), bytes(2))
    tap.equal(alone.read_bytes(0x380000, 6, None).get_data(), b'Beyond')


@tap.test
def open_refuses():
    fails(Imago.Error.REFERENCE_DENIED, Imago.Image.open, sample(), Imago.OpenOptions(format_name='qcow2'), None)
    fails(Imago.Error.UNKNOWN_FORMAT, Imago.Image.open, sample(), options(format_name='no such format'), None)
    fails(Imago.Error.UNKNOWN_FORMAT, Imago.Image.open_storage, Imago.NullStorage.new(65536), options(), None)
    head = bytearray((DATA / 'base.qcow2').read_bytes())
    head[32:36] = (1).to_bytes(4, 'big')
    encrypted = Imago.MemoryStorage.new(GLib.Bytes.new(bytes(head)))
    error = fails(Imago.Error.ENCRYPTED, Imago.Image.open_storage, encrypted, options(), None)
    tap.true('aes' in error.message, error.message)
    result = wait(Imago.Image.open_storage_async, encrypted, options(), NORMAL, None)
    fails(Imago.Error.ENCRYPTED, Imago.Image.open_storage_finish, result)


# ---- policies ----

class MemoryPolicy(GObject.Object, Imago.ReferencePolicy):
    """Answers every reference with the base, from memory."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.threads = set()

    def do_decide(self, reference):
        self.threads.add(threading.current_thread().name)
        self.asked.append((reference.get_role(), reference.get_name(), reference.dup_format_name(),
                           reference.get_depth(), reference.get_file().get_basename()))
        reference.set_format_name('qcow2')
        reference.grant(Imago.MemoryStorage.new(GLib.Bytes.new((DATA / 'base.qcow2').read_bytes())))
        return True


ASKED = [(Imago.ReferenceRole.BACKING_FILE, 'base.qcow2', 'qcow2', 1, 'base.qcow2')]


@tap.test
def policy_in_python():
    policy = MemoryPolicy()
    image = open_disk(reference_policy=policy)
    tap.equal(digest_of(image), FACTS['disk.qcow2']['sha256'])
    tap.equal(policy.asked, ASKED)

    result = wait(Imago.Image.open_async, sample(), options(reference_policy=policy), NORMAL, None)
    tap.equal(digest_of(Imago.Image.open_finish(result)), FACTS['disk.qcow2']['sha256'])
    tap.equal(policy.asked, ASKED * 2)
    tap.equal(policy.threads, {threading.current_thread().name}, 'threads that decided')


class RefusingPolicy(GObject.Object, Imago.ReferencePolicy):
    def __init__(self, exception):
        super().__init__()
        self.exception = exception

    def do_decide(self, reference):
        raise self.exception


@tap.test
def policy_that_raises():
    theirs = GLib.Error.new_literal(Gio.io_error_quark(), 'not today', Gio.IOErrorEnum.BUSY)
    error = tap.raises(GLib.Error, open_disk, reference_policy=RefusingPolicy(theirs))
    tap.true('not today' in error.message, error.message)
    # An exception that is no GLib.Error is a bug of the application: printed, and the answer is no.
    error = tap.raises(GLib.Error, open_disk, reference_policy=RefusingPolicy(ValueError('a bug')))
    tap.true(error.matches(Imago.Error.quark(), Imago.Error.REFERENCE_DENIED), error.message)
    tap.expect_background('a bug')


@tap.test
def policy_that_answers_later():
    asked = []

    class Later(GObject.Object, Imago.ReferencePolicy):
        def do_decide(self, reference):
            asked.append(reference)
            GLib.idle_add(self.answer, reference)
            return True

        def answer(self, reference):
            reference.grant(Imago.FileStorage.open(reference.get_file(), Imago.StorageFlags.NONE, None))
            return GLib.SOURCE_REMOVE

    result = wait(Imago.Image.open_async, sample(), options(reference_policy=Later()), NORMAL, None)
    tap.equal(digest_of(Imago.Image.open_finish(result)), FACTS['disk.qcow2']['sha256'])
    tap.equal(len(asked), 1)


@tap.test
def batch():
    image = open_disk()
    many = Imago.Batch.new(image)
    tap.true(many.get_image() is image)
    tap.equal([many.add_read(offset, 512) for offset in (0, 65536, 4096)], [0, 1, 2])
    tap.equal(many.add_read(1 << 40, 1), 3)
    tap.equal(many.get_n_requests(), 4)
    fails(Imago.Error.OUT_OF_RANGE, many.run_finish, wait(many.run_async, NORMAL, None))
    for index, offset in enumerate((0, 65536, 4096)):
        tap.true(many.check(index))
        tap.equal(many.dup_bytes(index).get_data(), image.read_bytes(offset, 512, None).get_data())
    fails(Imago.Error.OUT_OF_RANGE, many.check, 3)
    tap.equal(many.dup_bytes(3), None)
    fails(Imago.Error.FAILED, many.run, None)
    refused = Imago.Batch.new(image)
    refused.add_write(0, GLib.Bytes.new(b'no'))
    fails(Imago.Error.READ_ONLY, refused.run, None)


# ---- storages in Python ----

class ShelfStorage(Imago.Storage):
    """A bytearray, with a hook that a test can replace."""

    def __init__(self, content, hook=None, later=False):
        super().__init__(name='shelf', writable=True)
        self.content = bytearray(content)
        self.hook = hook
        self.later = later
        self.threads = set()
        self.seen = []

    def do_submit(self, request):
        self.threads.add(threading.current_thread().name)
        self.seen.append(request.get_operation())
        if self.hook is not None:
            return self.hook(request)
        if self.later:
            GLib.idle_add(self.answer, request)
        else:
            self.answer(request)
        return True

    def answer(self, request):
        operation, offset, length = request.get_operation(), request.get_offset(), request.get_length()
        if operation == Imago.StorageOperation.READ:
            request.return_bytes(GLib.Bytes.new(bytes(self.content[offset:offset + length])))
        elif operation == Imago.StorageOperation.QUERY_SIZE:
            request.return_size(len(self.content))
        elif operation == Imago.StorageOperation.WRITE:
            self.replace(offset, request.dup_bytes().get_data())
            request.return_done()
        elif operation == Imago.StorageOperation.WRITE_ZEROES:
            tap.true(request.get_zero_flags() in (Imago.ZeroFlags.NONE, Imago.ZeroFlags.UNMAP))
            self.replace(offset, bytes(length))
            request.return_done()
        elif operation == Imago.StorageOperation.TRUNCATE:
            del self.content[offset:]
            self.replace(offset, b'')
            request.return_done()
        elif operation == Imago.StorageOperation.FLUSH:
            request.return_done()
        else:
            request.return_error(GLib.Error.new_literal(Gio.io_error_quark(), 'no', Gio.IOErrorEnum.NOT_SUPPORTED))
        return GLib.SOURCE_REMOVE

    def replace(self, offset, data):
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset:offset + len(data)] = data


def shelf_image(**arguments):
    storage = ShelfStorage((DATA / 'base.qcow2').read_bytes(), **arguments)
    return storage, options(writable=True)


@tap.test
def storage_in_python():
    storage, how = shelf_image()
    image = Imago.Image.open_storage(storage, how, None)
    tap.true(image.get_storage() is storage)
    image.write_bytes(100, GLib.Bytes.new(b'in Python'), None)
    image.write_zeroes(65536, 65536, Imago.ZeroFlags.UNMAP, None)
    image.close(None)
    again = Imago.Image.open_storage(ShelfStorage(storage.content), options(), None)
    tap.equal(again.read_bytes(100, 9, None).get_data(), b'in Python')
    tap.equal(again.read_bytes(65536, 65536, None).get_data(), bytes(65536))
    tap.equal(storage.threads, {threading.current_thread().name}, 'threads of the hook')


@tap.test
def create_in_python():
    class BlockStorage(ShelfStorage):
        """A dict of blocks."""

        def __init__(self):
            self.blocks = {}
            self.size = 0
            super().__init__(b'')

        def answer(self, request):
            self.content = bytearray(b''.join(self.blocks.get(i, bytes(4096)) for i in range((self.size + 4095) // 4096)))
            del self.content[self.size:]
            super().answer(request)
            self.size = len(self.content)
            self.blocks = {i: bytes(self.content[i * 4096:(i + 1) * 4096]) for i in range((self.size + 4095) // 4096)}

    with Folder() as folder:
        for call in (lambda *args: Imago.Image.create_storage(*args, None),
                     lambda *args: Imago.Image.create_storage_finish(
                         wait(Imago.Image.create_storage_async, *args, NORMAL, None))):
            storage = BlockStorage()
            image = call(storage, Imago.CreateOptions(format_name='qcow2', size=1 << 20))
            tap.true(image.get_storage() is storage)
            image.write_bytes(70000, GLib.Bytes.new(b'in a dict'), None)
            image.close(None)
            (folder / 'disk.qcow2').write_bytes(b''.join(storage.blocks.values()))
            disk = bytearray(1 << 20)
            disk[70000:70009] = b'in a dict'
            judge(folder / 'disk.qcow2', bytes(disk))
            tap.equal(storage.threads, {threading.current_thread().name}, 'threads of the hook')
    data, below = ShelfStorage(b''), Imago.MemoryStorage.new_writable(0)
    base = Imago.Image.create_storage(below, Imago.CreateOptions(format_name='raw', size=1 << 20), None)
    base.write_bytes(5, GLib.Bytes.new(b'below'), None)
    top = Imago.Image.create_storage(ShelfStorage(b''), Imago.CreateOptions(
        format_name='qcow2', backing_image=base, backing_name='base.raw'), None)
    tap.true(top.dup_backing() is base)
    tap.equal(top.read_bytes(5, 5, None).get_data(), b'below')
    apart = Imago.Image.create_storage(ShelfStorage(b''), Imago.CreateOptions(
        format_name='qcow2', size=1 << 20, data_storage=data, data_file_name='data.raw'), None)
    apart.write_bytes(0, GLib.Bytes.new(b'apart'), None)
    apart.close(None)
    tap.true(b'apart' in data.content, 'the data is in the other storage')
    fails(Gio.IOErrorEnum.EXISTS, Imago.Image.create_storage, data, Imago.CreateOptions(size=512), None,
          domain=Gio.io_error_quark())


@tap.test
def storage_that_answers_later():
    storage, how = shelf_image(later=True)
    image = Imago.Image.open_storage_finish(wait(Imago.Image.open_storage_async, storage, how, NORMAL, None))
    tap.true(image.write_bytes_finish(wait(image.write_bytes_async, 7, GLib.Bytes.new(b'late'), NORMAL, None)))
    got = image.read_bytes_finish(wait(image.read_bytes_async, 7, 4, NORMAL, None))
    tap.equal(got.get_data(), b'late')
    tap.true(image.close_finish(wait(image.close_async, NORMAL, None)))
    tap.equal(storage.threads, {threading.current_thread().name}, 'threads of the hook')


@tap.test
def storage_for_another_thread():
    storage, how = shelf_image()
    results = []

    def work():
        image = Imago.Image.open_storage(storage, how, None)
        image.write_bytes(100, GLib.Bytes.new(b'from afar'), None)
        results.append(image.read_bytes(100, 9, None).get_data())
        image.close(None)
        GLib.idle_add(loop.quit)

    loop = GLib.MainLoop()
    thread = threading.Thread(target=work)
    thread.start()
    run(loop)
    thread.join()
    tap.equal(results, [b'from afar'])
    tap.equal(storage.threads, {threading.current_thread().name}, 'threads of the hook')


@tap.test
def storage_with_bad_manners():
    def raises_theirs(_request):
        raise GLib.Error.new_literal(Gio.io_error_quark(), 'full', Gio.IOErrorEnum.NO_SPACE)

    def raises_ours(_request):
        raise ValueError('a bug in the hook')

    def short(request):
        request.return_bytes(GLib.Bytes.new(b'abc'))
        return True

    def twice(request):
        request.return_bytes(GLib.Bytes.new(bytes(10)))
        request.return_bytes(GLib.Bytes.new(bytes(10)))
        return True

    def unfilled(request):
        request.return_done()
        return True

    def drops(_request):
        return True

    def forgets_to_return(request):
        request.return_bytes(GLib.Bytes.new(bytes(10)))

    storage = ShelfStorage(bytes(100))
    tap.equal(storage.query_size(None)[-1], 100)
    for hook, text in ((short, '3 bytes instead of 10'), (twice, 'twice'),
                       (unfilled, 'does not belong'), (drops, 'dropped'), (forgets_to_return, 'return TRUE')):
        storage.hook = hook
        error = fails(Imago.Error.FAILED, storage.read_bytes, 20, 10, None)
        tap.true(text in error.message, error.message)
        result = wait(storage.read_bytes_async, 20, 10, NORMAL, None)
        error = fails(Imago.Error.FAILED, storage.read_bytes_finish, result)
        tap.true(text in error.message, error.message)
    storage.hook = None
    tap.true(storage.discard(0, 10, None), 'space that cannot be given back stays')
    storage.hook = raises_ours
    fails(Imago.Error.FAILED, storage.read_bytes, 20, 10, None)
    storage.hook = raises_theirs
    fails(Gio.IOErrorEnum.NO_SPACE, storage.read_bytes, 20, 10, None, domain=Gio.io_error_quark())
    tap.expect_background('a bug in the hook')


@tap.test
def storage_that_reads_its_own_image():
    storage, how = shelf_image()
    image = Imago.Image.open_storage(storage, how, None)
    errors = []

    def hook(request):
        errors.append(fails(Imago.Error.WOULD_DEADLOCK, image.read_bytes, 0, 10, None))
        return storage.answer(request) or True

    storage.hook = hook
    image.write_bytes(0, GLib.Bytes.new(b'x'), None)
    tap.true(len(errors) > 0, 'the hook was called')
    storage.hook = None
    image.close(None)


@tap.test
def callback_policy():
    seen = []

    def decide(reference, data):
        seen.append((reference.get_name(), data))
        reference.grant(Imago.FileStorage.open(reference.get_file(), Imago.StorageFlags.NONE, None))
        return True

    policy = Imago.CallbackPolicy.new(decide, 'my data')
    tap.equal(digest_of(open_disk(reference_policy=policy)), FACTS['disk.qcow2']['sha256'])
    result = wait(Imago.Image.open_async, sample(), options(reference_policy=policy), NORMAL, None)
    tap.equal(digest_of(Imago.Image.open_finish(result)), FACTS['disk.qcow2']['sha256'])
    tap.equal(seen, [('base.qcow2', 'my data')] * 2)

    def refuse(reference, _data):
        reference.deny(GLib.Error.new_literal(Gio.io_error_quark(), 'no entry', Gio.IOErrorEnum.PERMISSION_DENIED))
        return True

    error = tap.raises(GLib.Error, open_disk, reference_policy=Imago.CallbackPolicy.new(refuse, None))
    tap.true('no entry' in error.message, error.message)


@tap.test
def built_in_policies():
    fails(Imago.Error.REFERENCE_DENIED, Imago.Image.open, sample(),
          options(reference_policy=Imago.DenyPolicy.new()), None)
    tap.equal(digest_of(open_disk(reference_policy=Imago.PermissivePolicy.new())), FACTS['disk.qcow2']['sha256'])
    table = Imago.MapPolicy.new()
    table.add('base.qcow2', Imago.FileStorage.open(sample('base.qcow2'), Imago.StorageFlags.NONE, None), 'qcow2')
    tap.equal(digest_of(open_disk(reference_policy=table)), FACTS['disk.qcow2']['sha256'])
    fails(Imago.Error.REFERENCE_DENIED, Imago.Image.open, sample(),
          options(reference_policy=Imago.MapPolicy.new()), None)
    with Folder() as folder:
        (folder / 'away').mkdir()
        shutil.copy(DATA / 'base.qcow2', folder / 'away')
        content = (DATA / 'disk.qcow2').read_bytes().replace(b'base.qcow2', b'away/q.qc2')
        (folder / 'disk.qcow2').write_bytes(content)
        fails(Imago.Error.REFERENCE_DENIED, Imago.Image.open,
              Gio.File.new_for_path(str(folder / 'disk.qcow2')), options(), None)


# ---- what an image is ----

@tap.test
def info():
    image = open_disk()
    info = image.query_info(None)
    tap.true(info.get_filename().endswith('tests/data/disk.qcow2'), info.get_filename())
    tap.equal(info.get_format_name(), 'qcow2')
    tap.equal(info.get_virtual_size(), 4 << 20)
    tap.equal(info.get_actual_size(), os.stat(DATA / 'disk.qcow2').st_blocks * 512)
    tap.equal(info.get_cluster_size(), 2048)
    tap.equal(info.get_backing_filename(), 'base.qcow2')
    tap.true(info.get_full_backing_filename().endswith('tests/data/base.qcow2'), info.get_full_backing_filename())
    tap.equal(info.get_backing_format_name(), 'qcow2')
    tap.equal(info.get_compat(), '1.1')
    tap.equal(info.get_compression_type(), 'zlib')
    tap.equal(info.get_refcount_bits(), 16)
    tap.equal([info.get_dirty(), info.get_corrupt(), info.get_lazy_refcounts(), info.get_extended_l2()], [False] * 4)
    tap.equal(info.get_data_file(), None)
    tap.equal(info.get_data_file_raw(), False)
    tap.equal(names_of(info.get_snapshots()), ['before-upgrade'])

    bitmap, = info.get_bitmaps()
    tap.equal(bitmap.get_name(), 'since-monday')
    tap.equal(bitmap.get_granularity(), 65536)
    tap.equal((bitmap.get_in_use(), bitmap.get_recording()), (False, True))

    result = wait(image.query_info_async, NORMAL, None)
    tap.equal(image.query_info_finish(result).get_cluster_size(), 2048)
    tap.equal(info.get_encryption_info(), None)


def open_encrypted():
    return Imago.Image.open(sample('luks.qcow2'), options(metadata_only=True), None)


@tap.test
def encrypted():
    image = open_encrypted()
    fails(Imago.Error.METADATA_ONLY, image.read_bytes, 0, 1, None)
    fails(Imago.Error.METADATA_ONLY, image.dup_backing().read_bytes, 0, 1, None)
    info = image.query_info(None).get_encryption_info()
    tap.equal([info.get_method(), info.get_cipher(), info.get_cipher_mode(), info.get_iv_generator(),
               info.get_iv_hash(), info.get_hash()], ['luks', 'aes-256', 'cbc', 'essiv', 'sha256', 'sha512'])
    tap.equal(info.get_uuid(), '5f0c7f6e-24a1-4a7e-9d0e-2f3b8f6c1a90')
    tap.equal((info.get_payload_offset(), info.get_master_key_iterations()), (2068480, 12345))
    slots = list(info.get_key_slots())
    tap.equal([slot.get_active() for slot in slots], [number == 1 for number in range(8)])
    tap.equal([slot.get_key_offset() for slot in slots], [4096 + 258048 * number for number in range(8)])
    tap.equal((slots[1].get_iterations(), slots[1].get_stripes()), (100000, 4000))
    tap.equal((slots[0].get_iterations(), slots[0].get_stripes()), (0, 0))


@tap.test
def snapshots():
    image = open_disk()
    snapshot, = image.list_snapshots(None)
    tap.equal(snapshot.get_id(), '1')
    tap.equal(snapshot.get_name(), 'before-upgrade')
    tap.equal(snapshot.get_disk_size(), 4 << 20)
    tap.equal(snapshot.get_vm_state_size(), 0)
    tap.equal(snapshot.get_vm_clock(), 0)
    tap.equal(snapshot.get_icount()[0], False)
    tap.equal(snapshot.get_date_usec(), 1704067200 * 1000000)
    tap.equal(snapshot.get_date_nanoseconds(), 0)
    tap.equal(snapshot.get_date_time().to_utc().format('%F %T'), '2024-01-01 00:00:00')
    result = wait(image.list_snapshots_async, NORMAL, None)
    tap.equal(names_of(image.list_snapshots_finish(result)), ['before-upgrade'])


@tap.test
def block_map():
    image = open_disk()
    K = Imago.ExtentKind
    extent = image.map(0, image.get_size(), Imago.MapFlags.NONE, None)
    tap.equal((extent.get_kind(), extent.get_offset(), extent.get_depth(), extent.get_reads_as_zero()),
              (K.COMPRESSED, 0, 1, False))
    tap.equal(extent.copy().get_length(), extent.get_length())

    end = image.get_size()
    extent = image.map(end - 2048, 2048, Imago.MapFlags.NONE, None)
    tap.equal((extent.get_kind(), extent.get_length(), extent.get_reads_as_zero()), (K.ZERO, 2048, True))

    array = image.map_extents(0, end, 1000, Imago.MapFlags.NONE, None)
    position = 0
    kinds = set()
    for i in range(array.get_n()):
        extent = array.get(i)
        tap.equal(extent.get_offset(), position)
        position += extent.get_length()
        kinds.add(extent.get_kind())
        found, host_offset = extent.get_host_offset()
        tap.equal(found, extent.get_kind() == K.DATA, 'has a host offset')
        if found:
            name = 'disk.qcow2' if extent.get_depth() == 0 else 'base.qcow2'
            tap.true(extent.get_storage_name().endswith(name), extent.get_storage_name())
            stored = (DATA / name).read_bytes()[host_offset:host_offset + extent.get_length()]
            tap.equal(image.read_bytes(extent.get_offset(), extent.get_length(), None).get_data(), stored)
        elif extent.get_kind() in (K.ZERO, K.UNALLOCATED):
            piece = image.read_bytes(extent.get_offset(), extent.get_length(), None).get_data()
            tap.true(not any(piece), 'zeroes are zeroes')
    tap.equal(position, end)
    tap.equal(kinds, {K.DATA, K.COMPRESSED, K.ZERO, K.UNALLOCATED})
    tap.equal(image.map_extents(0, end, 2, Imago.MapFlags.NONE, None).get_n(), 2)

    result = wait(image.map_async, 0, end, Imago.MapFlags.TOP_ONLY, NORMAL, None)
    extent = image.map_finish(result)
    tap.equal((extent.get_kind(), extent.get_depth()), (K.UNALLOCATED, 0))
    result = wait(image.map_extents_async, 0, end, 3, Imago.MapFlags.HOST_HOLES, NORMAL, None)
    tap.equal(image.map_extents_finish(result).get_n(), 3)
    fails(Imago.Error.OUT_OF_RANGE, image.map, end, 1, Imago.MapFlags.NONE, None)


@tap.test
def inspection():
    inspection = Imago.inspect(sample(), None)
    tap.equal(names_of(inspection.get_formats()), ['qcow2'])
    tap.equal(inspection.get_file_size(), (DATA / 'disk.qcow2').stat().st_size)
    tap.equal(inspection.get_virtual_size(), 4 << 20)
    reference, = inspection.get_references()
    tap.equal(reference.get_name(), 'base.qcow2')
    tap.equal(inspection.get_encryption(), None)
    tap.equal(inspection.get_n_snapshots(), 1)
    tap.equal(list(inspection.get_unknown_features() or []), [])
    tap.equal(list(inspection.get_problems() or []), [])
    tap.equal(inspection.get_self_contained(), False)
    result = wait(Imago.inspect_async, sample('base.qcow2'), NORMAL, None)
    tap.equal(Imago.inspect_finish(result).get_self_contained(), True)


# ---- reading ----

@tap.test
def reading_past_the_end():
    image = open_disk()
    end = image.get_size()
    fails(Imago.Error.OUT_OF_RANGE, image.read_bytes, end - 1, 2, None)
    fails(Imago.Error.OUT_OF_RANGE, image.read_bytes, (1 << 64) - 1, 1, None)
    tap.equal(image.read_bytes(end - 1, 1, None).get_data(), b'\0')
    result = wait(image.read_bytes_async, end, 1, NORMAL, None)
    fails(Imago.Error.OUT_OF_RANGE, image.read_bytes_finish, result)


@tap.test
def stream():
    image = open_disk()
    stream = image.create_input_stream()
    whole = image.read_bytes(0, image.get_size(), None).get_data()
    tap.equal(hashlib.sha256(whole).hexdigest(), FACTS['disk.qcow2']['sha256'])
    tap.true(isinstance(stream, Gio.InputStream) and stream.can_seek(), 'a seekable stream')
    tap.equal(stream.read_bytes(1000, None).get_data(), whole[:1000])
    stream.seek(32768, GLib.SeekType.SET, None)
    tap.equal(stream.tell(), 32768)
    result = wait(stream.read_bytes_async, 64, NORMAL, None)
    tap.equal(stream.read_bytes_finish(result).get_data(), whole[32768:32832])
    tap.equal(stream.skip(100, None), 100)
    tap.equal(stream.tell(), 32768 + 164)
    stream.seek(-3, GLib.SeekType.END, None)
    tap.equal(stream.read_bytes(100, None).get_size(), 3)
    tap.equal(stream.read_bytes(100, None).get_size(), 0)
    stream.close(None)


@tap.test
def many_reads_at_once():
    image = open_disk()
    whole = image.read_bytes(0, image.get_size(), None).get_data()
    loop = GLib.MainLoop()
    left = 300

    def done(source, result, offset):
        nonlocal left
        tap.equal(source.read_bytes_finish(result).get_data(), whole[offset:offset + 5000])
        left -= 1
        if not left:
            loop.quit()

    for number in range(left):
        offset = number * 7919 % (len(whole) - 5000)
        image.read_bytes_async(offset, 5000, NORMAL, None, done, offset)
    run(loop)
    tap.equal(left, 0)


@tap.test
def another_main_context():
    outcome = []

    def work():
        context = GLib.MainContext.new()
        context.push_thread_default()
        try:
            image = open_disk()
            result = wait(image.read_bytes_async, 0x380000, 6, NORMAL, None, context=context)
            outcome.append((image.read_bytes_finish(result).get_data(), threading.current_thread().name))
        except BaseException as error:
            outcome.append(error)
        finally:
            context.pop_thread_default()

    thread = threading.Thread(target=work, name='worker')
    thread.start()
    thread.join(25)
    tap.equal(outcome, [(b'Beyond', 'worker')])


# ---- cancellation ----

@tap.test
def cancelled():
    image = open_disk()
    cancellable = Gio.Cancellable.new()
    cancellable.cancel()
    io = Gio.io_error_quark()
    fails(Gio.IOErrorEnum.CANCELLED, image.read_bytes, 0, 1, cancellable, domain=io)
    fails(Gio.IOErrorEnum.CANCELLED, Imago.Image.open, sample(), options(), cancellable, domain=io)
    result = wait(image.read_bytes_async, 0, 1, NORMAL, cancellable)
    fails(Gio.IOErrorEnum.CANCELLED, image.read_bytes_finish, result, domain=io)
    result = wait(Imago.Image.open_async, sample(), options(), NORMAL, cancellable)
    fails(Gio.IOErrorEnum.CANCELLED, Imago.Image.open_finish, result, domain=io)
    result = wait(Imago.inspect_async, sample(), NORMAL, cancellable)
    fails(Gio.IOErrorEnum.CANCELLED, Imago.inspect_finish, result, domain=io)


# ---- writing ----

def work_copy(folder, name='base.qcow2'):
    path = folder / name
    path.write_bytes((DATA / name).read_bytes())
    return Gio.File.new_for_path(str(path))


def open_writable(file, **properties):
    return Imago.Image.open(file, options(writable=True, **properties), None)


def qemu_img(*args, **kwargs):
    return subprocess.run(['qemu-img', *args], env=tap.plain_environment(), **kwargs)


def judge(path, wanted):
    """What an independent program finds in the image, if there is one."""
    if not shutil.which('qemu-img'):
        return
    qemu_img('check', '-q', path, check=True)
    raw = pathlib.Path(str(path) + '.raw')
    qemu_img('convert', '-O', 'raw', path, raw, check=True)
    tap.true(raw.read_bytes() == wanted, 'qemu-img reads what was written')


@tap.test
def io_stream():
    with Folder() as folder:
        image = open_writable(work_copy(folder))
        disk = bytearray(image.read_bytes(0, image.get_size(), None).get_data())
        stream = image.create_io_stream()
        tap.true(isinstance(stream, Gio.IOStream) and stream.can_seek() and stream.can_truncate(), 'an IO stream')
        source, target = stream.get_input_stream(), stream.get_output_stream()
        tap.equal(target.write_bytes(GLib.Bytes.new(b'first'), None), 5)
        disk[:5] = b'first'
        tap.equal(source.read_bytes(100, None).get_data(), bytes(disk[5:105]))
        stream.seek(20000, GLib.SeekType.SET, None)
        result = wait(target.write_bytes_async, GLib.Bytes.new(b'second' * 1000), NORMAL, None)
        tap.equal(target.write_bytes_finish(result), 6000)
        disk[20000:26000] = b'second' * 1000
        tap.equal((stream.tell(), source.tell()), (26000, 26000))
        tap.equal(target.write_all(b'third', None)[1], 5)
        disk[26000:26005] = b'third'
        result = wait(target.flush_async, NORMAL, None)
        tap.equal(target.flush_finish(result), True)
        stream.seek(0, GLib.SeekType.SET, None)
        copy = Gio.MemoryOutputStream.new_resizable()
        result = wait(copy.splice_async, source, Gio.OutputStreamSpliceFlags.CLOSE_TARGET, NORMAL, None)
        tap.equal(copy.splice_finish(result), len(disk))
        tap.true(copy.steal_as_bytes().get_data() == disk, 'what was written')
        result = wait(stream.close_async, NORMAL, None)
        tap.equal(stream.close_finish(result), True)
        image.close(None)
        judge(folder / 'base.qcow2', bytes(disk))


@tap.test
def splice():
    with Folder() as folder:
        image = Imago.Image.open(Gio.File.new_for_path(str(DATA / 'base.qcow2')), options(), None)
        size = image.get_size()
        disk = image.read_bytes(0, size, None).get_data()
        target = Gio.File.new_for_path(str(folder / 'copy.raw'))
        stream = target.create(Gio.FileCreateFlags.NONE, None)
        done = 0
        while part := image.splice(stream, done, 30000, None):
            done += part
        stream.close(None)
        tap.equal(done, size)
        tap.true((folder / 'copy.raw').read_bytes() == disk, 'the copy')
        memory = Gio.MemoryOutputStream.new_resizable()
        result = wait(image.splice_async, memory, 0, size, NORMAL, None)
        tap.equal(image.splice_finish(result), size)
        memory.close(None)
        tap.true(memory.steal_as_bytes().get_data() == disk, 'the second copy')
        image.close(None)
        fails(Imago.Error.CLOSED, image.splice, memory, 0, size, None)


@tap.test
def stream_storage():
    content = (DATA / 'base.qcow2').read_bytes()
    wanted = Imago.Image.open(Gio.File.new_for_path(str(DATA / 'base.qcow2')), None, None)
    disk = bytearray(wanted.read_bytes(0, wanted.get_size(), None).get_data())
    memory = Gio.MemoryInputStream.new_from_bytes(GLib.Bytes.new(content))
    storage = Imago.StreamStorage.new_for_input(memory)
    tap.equal((storage.get_writable(), storage.query_size(None)[-1]), (False, len(content)))
    for storage in storage, Imago.StreamStorage(input_stream=memory):
        image = Imago.Image.open_storage(storage, options(), None)
        tap.true(image.read_bytes(0, len(disk), None).get_data() == disk, 'the same disk')
    with Folder() as folder:
        file = work_copy(folder)
        for make in Imago.StreamStorage.new_for_io, lambda stream: Imago.StreamStorage(io_stream=stream):
            image = Imago.Image.open_storage(make(file.open_readwrite(None)), options(writable=True), None)
            result = wait(image.write_bytes_async, 30000, GLib.Bytes.new(b'far away'), NORMAL, None)
            tap.equal(image.write_bytes_finish(result), True)
            image.close(None)
        disk[30000:30008] = b'far away'
        judge(folder / 'base.qcow2', bytes(disk))


@tap.test
def vm_state_of_snapshot():
    if not shutil.which('qemu-img'):
        tap.skip('qemu-img is not installed')
    with Folder() as folder:
        file = work_copy(folder)
        for state in b'old', b'new':
            image = Imago.Image.open(file, options(writable=True), None)
            image.write_vm_state(7, GLib.Bytes.new(state), None)
            image.close(None)
            if state == b'old':
                qemu_img('snapshot', '-c', 'stopped', file.get_path(), check=True)
        for snapshot, wanted in (None, b'\0new\0'), ('stopped', b'\0old\0'):
            image = Imago.Image.open(file, options(snapshot=snapshot), None)
            tap.equal(image.read_vm_state(6, 5, None).get_data(), wanted)


@tap.test
def write_and_close():
    with Folder() as folder:
        image = open_writable(work_copy(folder))
        tap.true(image.get_writable() and not open_disk().get_writable(), 'writable')
        size = image.get_size()
        disk = bytearray(image.read_bytes(0, size, None).get_data())
        tap.equal(image.write_bytes(1000, GLib.Bytes.new(b'Hello' * 1000), None), True)
        disk[1000:6000] = b'Hello' * 1000
        tap.equal(image.write_zeroes(4096, 5000, Imago.ZeroFlags.UNMAP, None), True)
        disk[4096:9096] = bytes(5000)
        tap.equal(image.discard(16384, 8192, Imago.DiscardMode.ZERO, None), True)
        disk[16384:24576] = bytes(8192)
        tap.equal(image.discard(0, size, Imago.DiscardMode.NONE, None), True)
        tap.equal(image.flush(None), True)
        tap.true(image.read_bytes(0, size, None).get_data() == disk, 'what was written')
        sizes = []
        image.connect('notify::size', lambda *_: sizes.append(image.get_size()))
        tap.equal(image.resize(size + 8192, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, None), True)
        tap.equal(image.write_compressed(size, GLib.Bytes.new(b'z' * 2048), None), True)
        disk += b'z' * 2048 + bytes(6144)
        tap.equal((image.get_size(), sizes), (size + 8192, [size + 8192]))
        fails(Imago.Error.FAILED, image.resize, 4096, Imago.ResizeFlags.NONE, Imago.Preallocation.NONE, None)
        fails(Imago.Error.OUT_OF_RANGE, image.write_bytes, size + 8191, GLib.Bytes.new(b'xy'), None)
        tap.equal(image.close(None), True)
        tap.equal(image.close(None), True)
        fails(Imago.Error.CLOSED, image.write_bytes, 0, GLib.Bytes.new(b'x'), None)
        judge(folder / 'base.qcow2', disk)


@tap.test
def write_async():
    with Folder() as folder:
        image = open_writable(work_copy(folder))
        size = image.get_size()
        disk = bytearray(image.read_bytes(0, size, None).get_data())
        result = wait(image.write_bytes_async, 3000, GLib.Bytes.new(b'abc'), NORMAL, None)
        tap.equal(image.write_bytes_finish(result), True)
        disk[3000:3003] = b'abc'
        result = wait(image.write_zeroes_async, 2048, 900, Imago.ZeroFlags.NONE, NORMAL, None)
        tap.equal(image.write_zeroes_finish(result), True)
        disk[2048:2948] = bytes(900)
        result = wait(image.discard_async, 8192, 4096, Imago.DiscardMode.ZERO, NORMAL, None)
        tap.equal(image.discard_finish(result), True)
        disk[8192:12288] = bytes(4096)
        result = wait(image.resize_async, size + 4096, Imago.ResizeFlags.NONE, Imago.Preallocation.METADATA, NORMAL,
                      None)
        tap.equal(image.resize_finish(result), True)
        result = wait(image.resize_async, size + 2048, Imago.ResizeFlags.MAY_SHRINK, Imago.Preallocation.NONE,
                      NORMAL, None)
        tap.equal(image.resize_finish(result), True)
        tap.equal(image.get_size(), size + 2048)
        disk += bytes(2048)
        result = wait(image.discard_async, size, 2048, Imago.DiscardMode.BACKING, NORMAL, None)
        tap.equal(image.discard_finish(result), True)
        result = wait(image.write_compressed_async, size, GLib.Bytes.new(b'q' * 2048), NORMAL, None)
        tap.equal(image.write_compressed_finish(result), True)
        disk[size:] = b'q' * 2048
        result = wait(image.write_vm_state_async, 1000, GLib.Bytes.new(b'state'), NORMAL, None)
        tap.equal(image.write_vm_state_finish(result), True)
        result = wait(image.read_vm_state_async, 998, 8, NORMAL, None)
        tap.equal(image.read_vm_state_finish(result).get_data(), b'\0\0state\0')
        tap.equal(image.write_vm_state(1002, GLib.Bytes.new(b'y'), None), True)
        tap.equal(image.read_vm_state(1000, 5, None).get_data(), b'styte')
        result = wait(image.flush_async, NORMAL, None)
        tap.equal(image.flush_finish(result), True)
        result = wait(image.close_async, NORMAL, None)
        tap.equal(image.close_finish(result), True)
        judge(folder / 'base.qcow2', disk)


@tap.test
def write_refuses():
    image = open_disk()
    fails(Imago.Error.READ_ONLY, image.write_bytes, 0, GLib.Bytes.new(b'x'), None)
    fails(Imago.Error.READ_ONLY, image.resize, 0, Imago.ResizeFlags.MAY_SHRINK, Imago.Preallocation.NONE, None)
    tap.equal(image.flush(None), True)
    with Folder() as folder:
        file = work_copy(folder)
        error = fails(Imago.Error.INVALID_OPTION, lambda: open_writable(file, format_name=None))
        tap.true('format-name' in error.message, error.message)
        storage = Imago.FileStorage.open(file, Imago.StorageFlags.NONE, None)
        fails(Imago.Error.READ_ONLY, Imago.Image.open_storage, storage, options(writable=True), None)


@tap.test
def reference_that_is_written():
    """A policy sees which file will be written."""
    seen = []

    def decide(reference, *_):
        seen.append(reference.get_needs_write())
        reference.grant(Imago.FileStorage.open(sample('base.qcow2'), Imago.StorageFlags.NONE, None))
        return True

    with Folder() as folder:
        image = open_writable(work_copy(folder, 'disk.qcow2'), reference_policy=Imago.CallbackPolicy.new(decide))
        tap.equal(seen, [False], 'a backing file is never written')
        tap.equal(image.dup_backing().get_writable(), False)
        image.close(None)


@tap.test
def write_storages():
    with Folder() as folder:
        file = work_copy(folder)
        content = bytearray((folder / 'base.qcow2').read_bytes())
        opened = Imago.FileStorage.open(file, Imago.StorageFlags.WRITABLE, None)
        tap.true(opened.get_writable(), 'writable')
        memory = Imago.MemoryStorage.new_writable(len(content))
        memory.write_bytes(0, GLib.Bytes.new(bytes(content)), None)
        for storage in (opened, memory, Imago.WindowStorage.new(memory, 0, len(content))):
            storage.write_bytes(10, GLib.Bytes.new(b'ten'), None)
            storage.write_zeroes(100, 50, Imago.ZeroFlags.NONE, None)
            result = wait(storage.write_bytes_async, 20, GLib.Bytes.new(b'twenty'), NORMAL, None)
            tap.equal(storage.write_bytes_finish(result), True)
            result = wait(storage.write_zeroes_async, 200, 50, Imago.ZeroFlags.UNMAP, NORMAL, None)
            tap.equal(storage.write_zeroes_finish(result), True)
            tap.equal(storage.flush(None), True)
            result = wait(storage.flush_async, NORMAL, None)
            tap.equal(storage.flush_finish(result), True)
        content[10:13], content[20:26], content[100:150], content[200:250] = b'ten', b'twenty', bytes(50), bytes(50)
        tap.true((folder / 'base.qcow2').read_bytes() == content, 'the file')
        tap.true(memory.dup_bytes().get_data() == content, 'the memory')
        for storage in (opened, memory):
            tap.equal(storage.truncate(1000, None), True)
            result = wait(storage.truncate_async, 8192, NORMAL, None)
            tap.equal(storage.truncate_finish(result), True)
            tap.equal(storage.read_bytes(0, 8192, None).get_data(), bytes(content[:1000]) + bytes(7192))
            tap.equal(storage.discard(4096, 4096, None), True)
            result = wait(storage.discard_async, 4096, 4096, NORMAL, None)
            tap.equal(storage.discard_finish(result), True)
            tap.equal(storage.query_size(None), (True, 8192))
    bytes_ = Imago.MemoryStorage.new(GLib.Bytes.new(b'0123'))
    tap.equal((bytes_.get_writable(), bytes_.dup_bytes().get_data()), (False, b'0123'))
    fails(Imago.Error.READ_ONLY, bytes_.write_bytes, 0, GLib.Bytes.new(b'x'), None)
    tap.equal(Imago.MemoryStorage(size=77).query_size(None), (True, 77))


@tap.test
def image_in_memory():
    """A qcow2 image that lives in memory is changed there."""
    content = (DATA / 'base.qcow2').read_bytes()
    memory = Imago.MemoryStorage.new_writable(0)
    memory.write_bytes(0, GLib.Bytes.new(content), None)
    image = Imago.Image.open_storage(memory, options(writable=True), None)
    image.write_bytes(0, GLib.Bytes.new(b'in memory'), None)
    image.close(None)
    with Folder() as folder:
        (folder / 'x.qcow2').write_bytes(memory.dup_bytes().get_data())
        image = Imago.Image.open(Gio.File.new_for_path(str(folder / 'x.qcow2')), options(), None)
        tap.equal(image.read_bytes(0, 9, None).get_data(), b'in memory')
        judge(folder / 'x.qcow2', image.read_bytes(0, image.get_size(), None).get_data())


# ---- jobs ----

@tap.test
def convert():
    with Folder() as folder:
        image = open_disk()
        target = Gio.File.new_for_path(str(folder / 'disk.raw'))
        job = Imago.ConvertJob.new(image, target)
        tap.equal((job.get_phase(), job.get_bytes_done(), job.get_progress()),
                  (Imago.JobPhase.NONE, 0, 0))
        job.set_durable(False)
        job.set_threads(2)
        tap.true(job.run(None), 'ran')
        tap.equal((job.get_phase(), job.get_progress()), (Imago.JobPhase.DONE, 1))
        tap.equal(job.get_bytes_done(), job.get_bytes_total())
        content = (folder / 'disk.raw').read_bytes()
        tap.equal(hashlib.sha256(content).hexdigest(), FACTS['disk.qcow2']['sha256'])
        tap.true(os.stat(folder / 'disk.raw').st_blocks * 512 < len(content) // 2, 'holes are kept')

        again = Imago.ConvertJob.new(image, target)
        fails(Gio.IOErrorEnum.EXISTS, again.run, None, domain=Gio.io_error_quark())
        again = Imago.ConvertJob.new(image, target)
        again.set_overwrite(True)
        tap.true(again.run(None), 'replaced')
        tap.equal(os.listdir(folder), ['disk.raw'])


@tap.test
def convert_to_qcow2():
    """Two disks one behind the other, compressed, into a new image; then a part of it into one that is there."""
    with Folder() as folder:
        path = folder / 'two.qcow2'
        job = Imago.ConvertJob.new(open_disk(), Gio.File.new_for_path(str(path)))
        job.add_source(open_disk())
        job.props.create_options = Imago.CreateOptions(format_name='qcow2', cluster_size=4096)
        job.props.compress, job.props.compression_level, job.props.verify, job.props.rate_limit = True, 2, True, 1 << 30
        tap.equal(job.run(None), True)
        tap.equal((job.props.salvaged_bytes, job.get_salvaged_range(0)), (0, (False, 0, 0)))
        disk = open_disk()
        once = disk.read_bytes(0, disk.get_size(), None).get_data()
        two = Imago.Image.open(Gio.File.new_for_path(str(path)), options(), None)
        judge(path, once * 2)
        target = Imago.Image.create(Gio.File.new_for_path(str(folder / 'part.raw')),
                                    Imago.CreateOptions(format_name='raw', size=65536), None)
        job = Imago.ConvertJob.new_for_image(two, target)
        job.props.offset, job.props.length = len(once) - 4096, 8192
        tap.equal(job.run(None), True)
        tap.true(target.read_bytes(0, 8192, None).get_data() == once[-4096:] + once[:4096], 'the window')
        target.close(None)


@tap.test
def convert_planned():
    """What a conversion would come to; nothing is written."""
    with Folder() as folder:
        job = Imago.ConvertJob.new(open_disk(), Gio.File.new_for_path(str(folder / 'disk.qcow2')))
        job.props.create_options = Imago.CreateOptions(format_name='qcow2', cluster_size=4096)
        plan = job.plan(None)
        measure_job = Imago.MeasureJob.new(open_disk(), job.props.create_options)
        tap.true(measure_job.run(None), 'measured')
        tap.equal((plan.get_required_size(), plan.get_fully_allocated_size()),
                  (measure_job.get_result().get_required_size(), measure_job.get_result().get_fully_allocated_size()))
        tap.equal(plan.get_losses(),
                  Imago.ConvertLosses.SNAPSHOTS | Imago.ConvertLosses.BITMAPS | Imago.ConvertLosses.BACKING_FILE)
        tap.equal(len(plan.get_loss_texts()), 3)
        tap.equal((plan.get_has_available_size(), plan.get_room()), (True, Imago.ConvertRoom.ENOUGH))
        tap.true(plan.get_available_size() > plan.get_required_size(), 'there is room')
        again = job.plan_finish(wait(job.plan_async, NORMAL, None))
        tap.equal(again.get_required_size(), plan.get_required_size())
        tap.equal(os.listdir(folder), [])
        tap.equal(job.run(None), True)


@tap.test
def convert_async_with_progress():
    with Folder() as folder:
        image = open_disk()
        target = Gio.File.new_for_path(str(folder / 'disk.raw'))
        job = Imago.ConvertJob(source=image, destination=target, durable=False, copy_bitmaps=True, skip_broken_bitmaps=True)
        fails(Imago.Error.UNSUPPORTED, job.run, None)  # the new image is raw
        job = Imago.ConvertJob(source=image, destination=target, durable=False)
        seen = []
        job.connect('notify::progress', lambda job, _: seen.append((job.props.progress, threading.current_thread())))
        result = wait(job.run_async, NORMAL, None)
        tap.true(job.run_finish(result), 'ran')
        tap.true(seen and seen[-1][0] == 1, f'the last progress in {seen}')
        tap.equal([value for value, _ in seen], sorted(value for value, _ in seen), 'progress only rises')
        tap.equal({thread for _, thread in seen}, {threading.current_thread()})
        content = (folder / 'disk.raw').read_bytes()
        tap.equal(hashlib.sha256(content).hexdigest(), FACTS['disk.qcow2']['sha256'])


@tap.test
def convert_stream():
    disk = b'bottles of beer\n' * 65536
    wrapped = GLib.Bytes.new(gzip.compress(disk))
    with Folder() as folder:
        def job(name, **properties):
            return Imago.ConvertJob(source_stream=Gio.MemoryInputStream.new_from_bytes(wrapped),
                                    destination=Gio.File.new_for_path(str(folder / name)), **properties)
        good = job('new', wrapping=Imago.StreamWrapping.GZIP, sha256=hashlib.sha256(wrapped.get_data()).hexdigest())
        fails(Imago.Error.UNSUPPORTED, good.plan, None)
        tap.true(good.run(None), 'ran')
        tap.equal((good.props.stream_length, good.get_progress()), (len(disk), 1))
        tap.equal((folder / 'new').read_bytes(), disk)
        fails(Imago.Error.CORRUPT, job('wrong', sha256=hashlib.sha256(disk).hexdigest()).run, None)
        fails(Imago.Error.INVALID_OPTION, job('verified', verify=True).run, None)
        image_job = Imago.ConvertJob(source=open_disk(), sha256='00', destination=Gio.File.new_for_path(str(folder / 'x')))
        fails(Imago.Error.INVALID_OPTION, image_job.run, None)
        tap.equal([path.name for path in folder.iterdir()], ['new'])


class Bucket(Gio.OutputStream):
    """Takes a little at a time; @room bytes in all. PyGObject makes 0 of an error that is raised, so it is not."""

    def __init__(self, room=1 << 30):
        super().__init__()
        self.content = bytearray()
        self.room = room

    def do_write_fn(self, data, *_):
        data = bytes(data)[:min(70000, self.room - len(self.content))]
        self.content += data
        return len(data)


@tap.test
def convert_to_stream():
    for format_name in 'raw', 'qcow2':
        memory = Gio.MemoryOutputStream.new_resizable()
        job = Imago.ConvertJob(source=open_disk(), target_stream=memory, format_name=format_name)
        tap.equal(job.props.target_stream, memory)
        result = wait(job.run_async, NORMAL, None)
        tap.true(job.run_finish(result) and not memory.is_closed(), 'ran, and left the stream open')
        memory.close(None)
        storage = Imago.MemoryStorage.new(memory.steal_as_bytes())
        image = Imago.Image.open_storage(storage, Imago.OpenOptions(format_name=format_name), None)
        content = image.read_bytes(0, image.props.size, None).get_data()
        tap.equal(hashlib.sha256(content).hexdigest(), FACTS['disk.qcow2']['sha256'])
    zipped = Gio.MemoryOutputStream.new_resizable()
    stream = Gio.ConverterOutputStream.new(zipped, Gio.ZlibCompressor.new(Gio.ZlibCompressorFormat.GZIP, 1))
    tap.true(Imago.ConvertJob(source=open_disk(), target_stream=stream).run(None), 'ran')
    stream.close(None)
    tap.equal(gzip.decompress(zipped.steal_as_bytes().get_data()), content)
    fails(Imago.Error.INVALID_OPTION,
          Imago.ConvertJob(source=open_disk(), target_stream=Gio.MemoryOutputStream.new_resizable(), verify=True).run, None)


@tap.test
def convert_to_own_stream():
    for run in (lambda job: job.run(None), lambda job: job.run_finish(wait(job.run_async, NORMAL, None))):
        bucket = Bucket()
        tap.true(run(Imago.ConvertJob(source=open_disk(), target_stream=bucket)), 'ran')
        tap.equal(hashlib.sha256(bucket.content).hexdigest(), FACTS['disk.qcow2']['sha256'])
        small = Bucket(200000)
        fails(Imago.Error.FAILED, run, Imago.ConvertJob(source=open_disk(), target_stream=small))
        tap.equal(small.content, bucket.content[:200000])


@tap.test
def convert_cancelled():
    with Folder() as folder:
        image = open_disk()
        cancellable = Gio.Cancellable.new()
        job = Imago.ConvertJob.new(image, Gio.File.new_for_path(str(folder / 'disk.raw')))
        cancellable.cancel()
        result = wait(job.run_async, NORMAL, cancellable)
        fails(Gio.IOErrorEnum.CANCELLED, job.run_finish, result, domain=Gio.io_error_quark())
        tap.equal(os.listdir(folder), [])


def refcount_place(content, cluster):
    """Where the refcount of a cluster of the first block stands: 16 bits."""
    table = int.from_bytes(content[48:56], 'big')
    return int.from_bytes(content[table:table + 8], 'big') + 2 * cluster


def damaged_disk():
    """The sample with a cluster free that is in use, and one cluster behind it taken by nobody."""
    content = bytearray((DATA / 'disk.qcow2').read_bytes())
    n = len(content) // 2048
    content += bytes(2048)
    for cluster, count in ((n - 3, 0), (n, 1)):
        place = refcount_place(content, cluster)
        content[place:place + 2] = count.to_bytes(2, 'big')
    return bytes(content)


COUNTS = ('check-errors', 'corruptions', 'leaks', 'image-end-offset', 'total-clusters', 'allocated-clusters',
          'fragmented-clusters', 'compressed-clusters')


def compare_with_qemu(path, result):
    if shutil.which('qemu-img') is None:
        return
    report = json.loads(qemu_img('check', '--output=json', path, capture_output=True).stdout)
    for name in COUNTS:
        tap.equal(result.get_property(name), report.get(name, 0), name)


@tap.test
def check():
    storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, None)
    job = Imago.CheckJob.new(storage, 'qcow2')
    tap.equal(job.get_result(), None)
    tap.true(job.run(None), 'ran')
    tap.equal((job.get_phase(), job.get_progress()), (Imago.JobPhase.DONE, 1))
    result = job.get_result()
    tap.equal([result.get_check_errors(), result.get_corruptions(), result.get_leaks(), result.get_n_messages()], [0] * 4)
    tap.equal(result.get_total_clusters(), 2048)
    tap.true(result.get_allocated_clusters() > 0, 'some are allocated')
    tap.true(result.get_compressed_clusters() > 0, 'some are compressed')
    tap.true(result.get_fragmented_clusters() > 0, 'some are not in a row')
    tap.equal(result.get_image_end_offset(), (DATA / 'disk.qcow2').stat().st_size)
    tap.equal(len(result.get_messages()), 0)
    compare_with_qemu(sample().get_path(), result)


@tap.test
def check_damaged():
    content = damaged_disk()
    job = Imago.CheckJob(storage=Imago.MemoryStorage.new(GLib.Bytes.new(content)), format_name='qcow2')
    done = wait(job.run_async, NORMAL, None)
    tap.true(job.run_finish(done), 'a verdict is no failure')
    result = job.props.result
    tap.true(result.props.corruptions > 0, 'what is in use and free is an error')
    tap.equal(result.props.leaks, 1)
    tap.equal(result.props.n_messages, len(result.props.messages))
    found = {message.get_kind(): message for message in result.get_messages()}
    tap.equal(set(found), {Imago.CheckMessageKind.CORRUPTION, Imago.CheckMessageKind.LEAK})
    tap.equal(found[Imago.CheckMessageKind.LEAK].get_host_offset(), len(content) - 2048)
    tap.true('refcount=1' in found[Imago.CheckMessageKind.LEAK].get_text(), 'the text says what is there')
    with Folder() as folder:
        shutil.copy(DATA / 'base.qcow2', folder)
        (folder / 'x.qcow2').write_bytes(content)
        compare_with_qemu(str(folder / 'x.qcow2'), result)


@tap.test
def repair():
    with Folder() as folder:
        shutil.copy(DATA / 'base.qcow2', folder)
        (folder / 'x.qcow2').write_bytes(damaged_disk())
        file = Gio.File.new_for_path(str(folder / 'x.qcow2'))
        writable = Imago.FileStorage.open(file, Imago.StorageFlags.WRITABLE, None)
        job = Imago.CheckJob(storage=writable, format_name='qcow2', repair=Imago.Repair.LEAKS)
        tap.equal(job.props.repair, Imago.Repair.LEAKS)
        tap.true(job.run(None), 'ran')
        leaks = job.get_result()
        tap.true(leaks.get_corruptions() > 0, 'those are left')
        tap.equal([leaks.get_leaks(), leaks.get_leaks_fixed(), leaks.get_corruptions_fixed()], [0, 1, 0])
        job = Imago.CheckJob.new(writable, 'qcow2')
        job.set_repair(Imago.Repair.ALL)
        job.set_force_share(True)
        tap.true(job.props.force_share, 'set')
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        result = job.get_result()
        tap.equal([result.get_corruptions(), result.get_check_errors(), result.get_leaks()], [0, 0, 0])
        tap.equal(result.props.corruptions_fixed, leaks.get_corruptions())
        kinds = {message.get_kind() for message in result.get_messages()}
        tap.equal(kinds, {Imago.CheckMessageKind.REPAIRED})
        compare_with_qemu(str(folder / 'x.qcow2'), result)
        unwritable = Imago.CheckJob.new(Imago.FileStorage.open(file, Imago.StorageFlags.NONE, None), 'qcow2')
        unwritable.set_repair(Imago.Repair.ALL)
        fails(Imago.Error.READ_ONLY, unwritable.run, None)
        tap.equal(unwritable.get_result(), None)


@tap.test
def check_refused():
    storage = Imago.FileStorage.open(sample(), Imago.StorageFlags.NONE, None)
    fails(Imago.Error.UNSUPPORTED, Imago.CheckJob.new(storage, 'raw').run, None)
    fails(Imago.Error.UNKNOWN_FORMAT, Imago.CheckJob.new(storage, 'no-format').run, None)
    fails(Imago.Error.FAILED, Imago.CheckJob().run, None)
    cancellable = Gio.Cancellable.new()
    cancellable.cancel()
    job = Imago.CheckJob.new(storage, 'qcow2')
    fails(Gio.IOErrorEnum.CANCELLED, job.run, cancellable, domain=Gio.io_error_quark())
    tap.equal(job.get_result(), None)
    fails(Imago.Error.FAILED, job.run, None)


MIB = 1024 * 1024


@tap.test
def resize_job():
    with Folder() as folder:
        file = Gio.File.new_for_path(str(folder / 'x.qcow2'))
        image = Imago.Image.create(file, Imago.CreateOptions(format_name='qcow2', size=MIB), None)
        sizes = []
        image.connect('notify::size', lambda image, spec: sizes.append(image.get_size()))
        job = Imago.ResizeJob.new(image, 40 * MIB)
        job.set_preallocation(Imago.Preallocation.METADATA)
        tap.true(job.run(None), 'ran')
        tap.equal((job.get_bytes_total(), job.get_bytes_done()), (39 * MIB, 39 * MIB))
        tap.equal((job.props.image, job.props.size), (image, 40 * MIB))
        tap.equal(sizes, [40 * MIB])
        job = Imago.ResizeJob(image=image, size=MIB)
        fails(Imago.Error.FAILED, job.run, None)
        job = Imago.ResizeJob(image=image, size=MIB)
        job.set_flags(Imago.ResizeFlags.MAY_SHRINK)
        tap.equal((job.props.flags, job.props.preallocation), (Imago.ResizeFlags.MAY_SHRINK, Imago.Preallocation.NONE))
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        tap.equal((image.get_size(), sizes[-1], job.get_progress()), (MIB, MIB, 1))
        cancellable = Gio.Cancellable.new()
        cancellable.cancel()
        fails(Gio.IOErrorEnum.CANCELLED, Imago.ResizeJob.new(image, 2 * MIB).run, cancellable,
              domain=Gio.io_error_quark())
        tap.equal(image.get_size(), MIB)
        image.close(None)
        fails(Imago.Error.CLOSED, Imago.ResizeJob.new(image, 2 * MIB).run, None)
        fails(Imago.Error.FAILED, Imago.ResizeJob().run, None)


@tap.test
def compare():
    disk, other = open_disk(), open_disk()
    job = Imago.CompareJob.new(disk, other)
    tap.equal(job.get_comparison(), Imago.Comparison.NONE)
    job.set_strict(True)
    job.set_threads(3)
    job.set_rate_limit(1 << 40)
    tap.equal((job.props.strict, job.get_threads(), job.get_rate_limit()), (True, 3, 1 << 40))
    tap.true(job.run(None), 'ran')
    tap.equal(job.get_comparison(), Imago.Comparison.IDENTICAL)
    tap.equal((job.get_difference_offset(), job.get_failure()), (0, Imago.CompareFailure.NONE))
    tap.equal(job.get_progress(), 1)

    content = disk.read_bytes(0, disk.get_size(), None).get_data()
    where = len(content) // 2 + 1
    changed = content[:where] + bytes([content[where] ^ 1]) + content[where + 1:]
    for expected, raw in [(None, content), (where, changed), (len(content) + 8, content + bytes(8) + b'x')]:
        memory = Imago.MemoryStorage.new(GLib.Bytes.new(raw))
        image = Imago.Image.open_storage(memory, options(format_name='raw'), None)
        job = Imago.CompareJob(first_image=disk, second_image=image)
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'a difference is no failure')
        verdict = Imago.Comparison.IDENTICAL if expected is None else Imago.Comparison.CONTENT
        tap.equal(job.props.comparison, verdict)
        tap.equal(job.props.difference_offset, expected or 0)
        job = Imago.CompareJob(first_image=disk, second_image=image, strict=True)
        tap.true(job.run(None), 'ran')
        tap.true(job.get_comparison() in [Imago.Comparison.BLOCK_STATUS, Imago.Comparison.SIZE], 'strict')


@tap.test
def compare_refused():
    disk, closed = open_disk(), open_disk()
    closed.close(None)
    for first, second in [(disk, closed), (closed, disk)]:
        job = Imago.CompareJob.new(first, second)
        fails(Imago.Error.CLOSED, job.run, None)
        tap.equal(job.get_comparison(), Imago.Comparison.NONE)
    fails(Imago.Error.FAILED, Imago.CompareJob(first_image=disk).run, None)
    cancellable = Gio.Cancellable.new()
    cancellable.cancel()
    job = Imago.CompareJob.new(disk, disk)
    fails(Gio.IOErrorEnum.CANCELLED, job.run, cancellable, domain=Gio.io_error_quark())
    tap.equal(job.get_comparison(), Imago.Comparison.NONE)
    disk.close(None)


@tap.test
def measure():
    disk = open_disk()
    job = Imago.MeasureJob.new(disk, Imago.CreateOptions(format_name='qcow2', cluster_size=4096))
    tap.equal(job.get_result(), None)
    tap.true(job.run(None), 'ran')
    result = job.get_result()
    sizes = result.get_required_size(), result.get_fully_allocated_size(), result.get_bitmaps_size()
    tap.true(0 < sizes[0] <= sizes[1], f'{sizes}')
    tap.true(result.get_has_bitmaps(), 'the sample has some')
    if shutil.which('qemu-img') is not None:
        answer = json.loads(qemu_img('measure', '--output=json', '-O', 'qcow2', '-o', 'cluster_size=4096',
                                     sample().get_path(), capture_output=True).stdout)
        tap.equal(sizes, tuple(answer[key] for key in ['required', 'fully-allocated', 'bitmaps']))
    job = Imago.MeasureJob(source=disk)
    tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
    tap.equal(job.props.result.props.required_size, disk.get_size())
    tap.equal(job.props.result.props.has_bitmaps, False)
    job = Imago.MeasureJob.new(None, Imago.CreateOptions(format_name='qcow2', size=10 << 20))
    tap.true(job.run(None), 'ran')
    tap.equal(job.get_result().get_required_size(), 327680)
    tap.equal(job.get_result().get_fully_allocated_size(), 10813440)


@tap.test
def measure_refused():
    disk = open_disk()
    fails(Imago.Error.INVALID_OPTION, Imago.MeasureJob.new(None, None).run, None)
    fails(Imago.Error.UNKNOWN_FORMAT, Imago.MeasureJob.new(disk, Imago.CreateOptions(format_name='x')).run, None)
    fails(Imago.Error.INVALID_OPTION, Imago.MeasureJob.new(disk, Imago.CreateOptions(cluster_size=4096)).run, None)
    disk.close(None)
    job = Imago.MeasureJob.new(disk, None)
    fails(Imago.Error.CLOSED, job.run, None)
    tap.equal(job.get_result(), None)


@tap.test
def compact_job():
    with Folder() as folder:
        file = Gio.File.new_for_path(str(folder / 'x.qcow2'))
        image = Imago.Image.create(file, Imago.CreateOptions(format_name='qcow2', size=MIB), None)
        image.write_bytes(0, GLib.Bytes.new(bytes(MIB // 2) + bytes([7]) * (MIB // 2)), None)
        job = Imago.CompactJob.new(image)
        tap.true(job.run(None), 'ran')
        tap.equal((job.get_bytes_total(), job.get_bytes_done(), job.get_phase()), (MIB, MIB, Imago.JobPhase.DONE))
        tap.true(job.get_bytes_freed() >= MIB // 2, 'half of it was zero')
        tap.equal(image.read_bytes(0, MIB, None).get_data(), bytes(MIB // 2) + bytes([7]) * (MIB // 2))
        job = Imago.CompactJob(image=image)
        job.set_lose_bitmaps(True)
        tap.equal((job.props.image, job.props.lose_bitmaps), (image, True))
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        tap.equal(job.props.bytes_freed, 0)
        image.close(None)
        fails(Imago.Error.CLOSED, Imago.CompactJob.new(image).run, None)
        fails(Imago.Error.FAILED, Imago.CompactJob().run, None)
        fails(Imago.Error.READ_ONLY, Imago.CompactJob.new(Imago.Image.open(file, options(), None)).run, None)


@tap.test
def compact_job_rewrite():
    with Folder() as folder:
        file = Gio.File.new_for_path(str(folder / 'x.qcow2'))
        image = Imago.Image.create(file, Imago.CreateOptions(format_name='qcow2', size=MIB, cluster_size=4096), None)
        image.write_bytes(0, GLib.Bytes.new(bytes(MIB // 2) + bytes([7]) * (MIB // 2)), None)
        job = Imago.CompactJob(image=image, method=Imago.CompactMethod.REWRITE)
        cancellable = Gio.Cancellable()
        cancellable.cancel()
        fails(Gio.IOErrorEnum.CANCELLED, job.run, cancellable, domain=Gio.io_error_quark())
        image.write_bytes(0, GLib.Bytes.new(bytes([8])), None)
        job = Imago.CompactJob.new(image)
        tap.equal(job.props.method, Imago.CompactMethod.NONE)
        job.set_method(Imago.CompactMethod.REWRITE)
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        tap.true(job.get_bytes_freed() >= MIB // 4, 'half of it was zero')
        fails(Imago.Error.CLOSED, image.read_bytes, 0, 512, None)
        fails(Imago.Error.CLOSED, Imago.CompactJob.new(image).run, None)
        tap.true(image.close(None), 'is closed')
        image = Imago.Image.open(file, Imago.OpenOptions(format_name='qcow2', writable=True), None)
        tap.equal(image.read_bytes(0, MIB, None).get_data(),
                  bytes([8]) + bytes(MIB // 2 - 1) + bytes([7]) * (MIB // 2))
        overlay = Imago.Image.create(Gio.File.new_for_path(str(folder / 'over.qcow2')),
                                     Imago.CreateOptions(format_name='qcow2', backing_image=image), None)
        fails(Imago.Error.LOCKED, Imago.CompactJob(image=image, method=Imago.CompactMethod.REWRITE).run, None)
        overlay.close(None)
        image.close(None)
        memory = Imago.Image.create_storage(Imago.MemoryStorage.new_writable(0),
                                            Imago.CreateOptions(format_name='qcow2', size=MIB), None)
        fails(Imago.Error.NOT_REGULAR_FILE, Imago.CompactJob(image=memory, method=Imago.CompactMethod.REWRITE).run, None)


@tap.test
def commit_and_rebase():
    with Folder() as folder:
        def create(name, **keywords):
            return Imago.Image.create(Gio.File.new_for_path(str(folder / name)),
                                      Imago.CreateOptions(format_name='qcow2', **keywords), None)

        def open_top(**keywords):
            return Imago.Image.open(Gio.File.new_for_path(str(folder / 'top.qcow2')),
                                    Imago.OpenOptions(format_name='qcow2', reference_policy=policy, **keywords), None)

        policy = Imago.SameDirectoryPolicy.new()
        base = create('base.qcow2', size=MIB)
        base.write_bytes(0, GLib.Bytes.new(b'a' * 200000), None)
        base.close(None)
        other = create('other.qcow2', size=MIB)
        other.write_bytes(MIB - 65536, GLib.Bytes.new(b'z' * 65536), None)
        other.close(None)
        create('top.qcow2', size=MIB, backing_file=Gio.File.new_for_path(str(folder / 'base.qcow2')),
               backing_format='qcow2', reference_policy=policy).close(None)

        top = open_top(writable=True)
        top.write_bytes(100000, GLib.Bytes.new(b'b' * 100000), None)
        digest = digest_of(top)
        fails(Imago.Error.READ_ONLY, Imago.CommitJob.new(top, None).run, None)
        fails(Imago.Error.READ_ONLY, Imago.CommitJob.new(top, top.dup_backing()).run, None)
        top.close(None)
        fails(Imago.Error.CLOSED, Imago.CommitJob.new(top, None).run, None)
        fails(Imago.Error.FAILED, Imago.CommitJob().run, None)

        top = open_top(writable=True, writable_backing=1)
        base = top.dup_backing()
        job = Imago.CommitJob.new(top, base)
        job.set_keep(True)
        job.set_rate_limit(1 << 40)
        tap.equal((job.props.image, job.props.target, job.props.keep, job.props.rate_limit), (top, base, True, 1 << 40))
        tap.true(job.run(None), 'ran')
        tap.true(job.get_bytes_done() == job.get_bytes_total() > 0, 'progress')
        tap.equal(digest_of(base), digest)
        tap.equal(top.map(100000, 1, Imago.MapFlags.TOP_ONLY, None).get_kind(), Imago.ExtentKind.DATA)
        job = Imago.CommitJob(image=top, threads=1)
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        tap.equal(top.map(100000, 1, Imago.MapFlags.TOP_ONLY, None).get_kind(), Imago.ExtentKind.UNALLOCATED)
        tap.equal(digest_of(top), digest)
        cancellable = Gio.Cancellable.new()
        cancellable.cancel()
        fails(Gio.IOErrorEnum.CANCELLED, Imago.CommitJob.new(top, None).run, cancellable, domain=Gio.io_error_quark())
        top.close(None)
        fails(Imago.Error.CLOSED, base.read_bytes, 0, 1, None)

        def open_other():
            return Imago.Image.open(Gio.File.new_for_path(str(folder / 'other.qcow2')),
                                    Imago.OpenOptions(format_name='qcow2'), None)

        top = open_top(writable=True)
        other = open_other()
        fails(Imago.Error.INVALID_OPTION, Imago.RebaseJob.new(top, other, 'other.qcow2', None).run, None)
        job = Imago.RebaseJob.new(top, other, 'other.qcow2', 'qcow2')
        job.set_compress(True)
        job.set_rate_limit(1 << 40)
        tap.equal((job.props.backing, job.props.backing_name, job.props.backing_format, job.props.compress,
                   job.props.rate_limit, job.props.name_only), (other, 'other.qcow2', 'qcow2', True, 1 << 40, False))
        tap.true(job.run(None), 'ran')
        top.close(None)
        other.close(None)
        top = open_top(writable=True)
        tap.equal(top.query_info(None).get_backing_filename(), 'other.qcow2')
        tap.equal(digest_of(top), digest)
        job = Imago.RebaseJob(image=top, threads=1)
        tap.true(job.run_finish(wait(job.run_async, NORMAL, None)), 'ran')
        top.close(None)
        top = open_top(writable=True, defer_references=True)
        tap.equal(top.query_info(None).get_backing_filename(), None)
        job = Imago.RebaseJob.new(top, None, 'gone.raw', 'raw')
        job.set_name_only(True)
        tap.true(job.run(None), 'ran')
        top.close(None)
        fails(Imago.Error.CLOSED, Imago.RebaseJob.new(top, None, None, None).run, None)
        fails(Imago.Error.FAILED, Imago.RebaseJob().run, None)
        info = open_top(defer_references=True).query_info(None)
        tap.equal((info.get_backing_filename(), info.get_backing_format_name()), ('gone.raw', 'raw'))


# ---- all of it ----

@tap.test
def error_codes():
    names = ['failed', 'unknown-format', 'ambiguous-format', 'corrupt', 'unsupported', 'encrypted',
             'limit-exceeded', 'reference-denied', 'reference-loop', 'references-pending', 'out-of-range',
             'not-regular-file', 'snapshot-not-found', 'no-memory', 'closed']
    tap.equal(GLib.quark_to_string(Imago.Error.quark()), 'imago-error-quark')
    for code, name in enumerate(names):
        tap.equal(int(getattr(Imago.Error, name.replace('-', '_').upper())), code)


@tap.test
def every_property():
    """Each readable property has a value of its type, equal to its getter's."""
    image = open_disk()
    info = image.query_info(None)
    with Folder() as folder:
        job = Imago.ConvertJob.new(image, Gio.File.new_for_path(str(folder / 'x')))
        check = Imago.CheckJob.new(Imago.MemoryStorage.new(GLib.Bytes.new(damaged_disk())), 'qcow2')
        tap.true(check.run(None), 'checked')
        measure_job = Imago.MeasureJob.new(image, None)
        tap.true(measure_job.run(None), 'measured')
        encryption = open_encrypted().query_info(None).get_encryption_info()
        objects = [encryption, encryption.get_key_slots()[1], measure_job, measure_job.get_result(), job.plan(None), Imago.CompareJob.new(image, image), check, check.get_result(), check.get_result().get_messages()[0], image, info, info.get_bitmaps()[0], image.list_snapshots(None)[0], image.get_format(),
                   image.get_storage(), Imago.inspect(sample(), None), options(), job]
        count = 0
        for item in objects:
            for spec in item.list_properties():
                if spec.flags & GObject.ParamFlags.READABLE:
                    value = item.get_property(spec.name)
                    getter = getattr(item, 'get_' + spec.name.replace('-', '_'), None)
                    if getter and not isinstance(value, (GObject.Object, list)):
                        tap.equal(getter(), value, f'{type(item).__name__}:{spec.name}')
                    count += 1
        tap.true(count > 30, f'{count} properties')


@tap.test
def made_of_nothing():
    """Whatever g_object_new () makes can be looked at."""
    count = 0
    for name in dir(Imago):
        kind = getattr(Imago, name)
        if not (isinstance(kind, type) and issubclass(kind, GObject.Object)) or kind.__gtype__.is_abstract():
            continue
        item = GObject.new(kind.__gtype__)
        for spec in item.list_properties():
            if spec.flags & GObject.ParamFlags.READABLE:
                item.get_property(spec.name)
        for getter in dir(kind):
            if getter.startswith('get_') and getter[4:] in [s.name.replace('-', '_') for s in item.list_properties()]:
                getattr(item, getter)()
        count += 1
    tap.true(count > 15, f'{count} types')


@tap.test
def every_function_was_called():
    tap.equal(recorder.missing(), [])
    print(f'# {len(recorder.functions)} functions and methods, all called')


tap.main()
