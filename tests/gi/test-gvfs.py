#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images on an HTTP server, as GVfs brings them: real remote files, with a session bus and a server of their own."""

import http.server
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
import tap  # noqa: E402

INSIDE = '--inside'
MIB = 1 << 20


# ---- the server, a process of its own: serve FOLDER; prints its port, and ends with its standard input ----

class Handler(http.server.BaseHTTPRequestHandler):
    """Once a file CUT lies in the folder, an answer breaks off after as many bytes as it says."""

    protocol_version = 'HTTP/1.1'
    folder = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        path, first, length = self.answer()
        if (self.folder / 'CUT').exists():
            length = min(length, int((self.folder / 'CUT').read_text()))
            self.close_connection = True
        try:
            if length > 0:
                self.send_range(path, first, length)
        except ConnectionError:  # GVfs asks anew for each place that it seeks to
            self.close_connection = True

    def send_range(self, path, first, length):
        with path.open('rb') as file:
            file.seek(first)
            while length > 0:
                part = file.read(min(length, 64 * 1024))
                self.wfile.write(part)
                length -= len(part)

    def answer(self):
        path = self.folder / self.path[1:]
        if not path.is_file():
            self.send_error(404)
            return path, 0, 0
        size = path.stat().st_size
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        first, end = 0, size
        if wanted:
            first, end = int(wanted[1]), min(int(wanted[2] or size) + 1, size)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header('Content-Range', f'bytes {first}-{end - 1}/{size}')
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(end - first))
        self.end_headers()
        return path, first, end - first


def serve(folder):
    Handler.folder = pathlib.Path(folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that hang up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


# ---- the disks ----

def run(*command):
    subprocess.run([*map(str, command)], env=tap.plain_environment(), check=True, stdout=subprocess.DEVNULL, timeout=50)


def make_disks(folder):
    """Four mebibytes of text and noise, in the middle of 64."""
    noise = b''.join(number.to_bytes(4, 'little') * 3 + os.urandom(4) for number in range(4 * MIB // 16))
    (folder / 'noise').write_bytes(noise)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', folder / 'disk.qcow2', '64M')
    run('qemu-io', '-c', f'write -q -s {folder}/noise 30M 4M', folder / 'disk.qcow2')
    run('qemu-img', 'convert', '-c', '-O', 'qcow2', folder / 'disk.qcow2', folder / 'small.qcow2')
    run('qemu-img', 'convert', '-O', 'raw', folder / 'disk.qcow2', folder / 'disk.raw')
    (folder / 'text').write_text('no image at all\n' * 100)


# ---- outside: everything that must be there before GIO is looked at ----

def why_not():
    for program in 'qemu-img', 'qemu-io', 'dbus-run-session':
        if shutil.which(program) is None:
            return f'{program} is not installed'
    if not any(pathlib.Path(folder, 'gvfs', 'mounts', 'http.mount').exists()
               for folder in ('/usr/share', '/usr/local/share')):
        return 'GVfs does not bring HTTP here'
    return None


def start_again():
    """With a bus, a home and a server of its own; what others installed knows nothing of a sanitizer."""
    with tempfile.TemporaryDirectory(prefix='imago-gvfs-') as name:
        folder = pathlib.Path(name)
        served, runtime = folder / 'served', folder / 'runtime'
        served.mkdir()
        runtime.mkdir(mode=0o700)
        make_disks(served)
        environment = tap.plain_environment() | {
            'HOME': name, 'XDG_RUNTIME_DIR': str(runtime), 'GVFS_DISABLE_FUSE': '1', 'no_proxy': '*'}
        for variable in 'GIO_USE_VFS', 'DBUS_SESSION_BUS_ADDRESS':
            environment.pop(variable, None)
        preload = [f'LD_PRELOAD={os.environ["LD_PRELOAD"]}'] if 'LD_PRELOAD' in os.environ else []
        server = subprocess.Popen([sys.executable, __file__, 'serve', served], env=environment, text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            port = server.stdout.readline().strip()
            return subprocess.run(['dbus-run-session', '--', 'env', *preload, sys.executable, __file__, INSIDE, served, port],
                                  env=environment, timeout=100).returncode
        finally:
            server.communicate('')


if sys.argv[1:2] == ['serve']:
    serve(sys.argv[2])
    sys.exit(0)
if sys.argv[1:2] != [INSIDE]:
    reason = why_not()
    if reason is None:
        sys.exit(start_again())

    @tap.test
    def images_of_a_server():
        tap.skip(reason)

    tap.main()

# ---- inside ----

import gi  # noqa: E402

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402

SERVED, PORT = pathlib.Path(sys.argv[2]), sys.argv[3]
WANTED = (SERVED / 'disk.raw').read_bytes()


def remote(name):
    return Gio.File.new_for_uri(f'http://127.0.0.1:{PORT}/{name}')


def local(name):
    return Gio.File.new_for_path(str(SERVED / name))


def options(**keywords):
    return Imago.OpenOptions(**keywords)


def wait(function, *arguments):
    results = []
    function(*arguments, lambda _, result: results.append(result))
    while not results:
        GLib.MainContext.default().iteration(True)
    return results.pop()


def fails(domain, code, function, *arguments):
    error = tap.raises(GLib.Error, function, *arguments)
    tap.true(error.matches(domain, code), f'{error.domain} {error.code}: {error.message}')


@tap.test
def it_is_a_remote_file():
    tap.equal(remote('disk.qcow2').get_path(), None)
    tap.equal(type(remote('disk.qcow2')).__name__, 'GDaemonFile')


@tap.test
def reads_a_disk():
    for name in 'disk.qcow2', 'small.qcow2':
        image = Imago.Image.open(remote(name), options(), None)
        tap.equal(image.get_size(), len(WANTED))
        for offset in 0, 30 * MIB - 4096, 31 * MIB + 777, 63 * MIB:
            tap.true(image.read_bytes(offset, 70000, None).get_data() == WANTED[offset:offset + 70000], f'{name} at {offset}')
        image.close(None)


@tap.test
def reads_a_disk_on_a_main_loop():
    image = Imago.Image.open_finish(wait(Imago.Image.open_async, remote('small.qcow2'), options(), 0, None))
    results = []
    offsets = [30 * MIB + number * 100_000 for number in range(40)]
    for offset in offsets:
        image.read_bytes_async(offset, 5000, 0, None, lambda _, result, offset: results.append((offset, result)), offset)
    while len(results) < len(offsets):
        GLib.MainContext.default().iteration(True)
    for offset, result in results:
        tap.true(image.read_bytes_finish(result).get_data() == WANTED[offset:offset + 5000], f'at {offset}')
    tap.true(image.close_finish(wait(image.close_async, 0, None)), 'closed')


@tap.test
def is_inspected():
    found = Imago.inspect(remote('disk.qcow2'), None)
    tap.equal([kind.get_name() for kind in found.get_formats()], ['qcow2'])
    tap.equal(found.get_virtual_size(), len(WANTED))
    found = Imago.inspect_finish(wait(Imago.inspect_async, remote('text'), 0, None))
    tap.equal([kind.get_name() for kind in found.get_formats()], ['raw'])


@tap.test
def is_converted_and_compared():
    for name in 'disk.qcow2', 'small.qcow2', 'disk.raw':
        source = Imago.Image.open(remote(name), options(), None)
        target = SERVED / f'from-{name}'
        job = Imago.ConvertJob(source=source, destination=Gio.File.new_for_path(str(target)), durable=False)
        tap.true(job.run_finish(wait(job.run_async, 0, None)), 'converted')
        run('qemu-img', 'compare', '-q', target, SERVED / 'disk.raw')
        job = Imago.CompareJob.new(source, Imago.Image.open(local('disk.raw'), options(format_name='raw'), None))
        tap.true(job.run(None), 'compared')
        tap.equal(job.get_comparison(), Imago.Comparison.IDENTICAL)


@tap.test
def a_server_that_breaks_off_is_asked_again_or_an_error():
    image = Imago.Image.open(remote('disk.qcow2'), options(), None)
    cut = SERVED / 'CUT'
    try:
        cut.write_text(str(MIB + 4321))
        tap.true(image.read_bytes(30 * MIB, 3 * MIB, None).get_data() == WANTED[30 * MIB:33 * MIB], 'in three pieces')
        cut.write_text('0')
        tap.raises(GLib.Error, image.read_bytes, 30 * MIB, 3 * MIB, None)
    finally:
        cut.unlink()
    tap.true(image.read_bytes(31 * MIB, 4096, None).get_data() == WANTED[31 * MIB:31 * MIB + 4096], 'and goes on')


@tap.test
def what_is_not_there_is_not_found():
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_FOUND, Imago.Image.open, remote('nothing'), options(), None)


@tap.test
def a_server_is_not_written_to():
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_SUPPORTED, Imago.Image.open, remote('disk.qcow2'),
          options(format_name='qcow2', writable=True), None)


@tap.test
def a_place_that_must_be_mounted_is_not():
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_MOUNTED, Imago.Image.open,
          Gio.File.new_for_uri('sftp://127.0.0.1/disk.qcow2'), options(), None)


tap.main()
