# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Who may have an image open beside whom: QEMU and the library, in both orders."""

import os
import signal
import subprocess
import sys

from imagotest import IMAGO, add_test, create, equal, good, main, qemu_img, qemu_io, run, test

HOLDER = sys.argv[1]
READ, WRITE, SHARE = MODES = ['read', 'write', 'share']
QEMU_OPTIONS = {READ: ['-r'], WRITE: [], SHARE: ['-r', '-U']}


class Opened:
    """An image that a program has open, or was refused."""

    def __init__(self, program, mode, name, format='qcow2'):
        if program == 'qemu':
            args = ['qemu-io', *QEMU_OPTIONS[mode], '-f', format, name]
            sign = b'1 MiB'
        else:
            args = [HOLDER, format, mode, name]
            sign = b'open\n'
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if program == 'qemu':
            self.send(b'length\n')
        self.text = b''
        while sign not in self.text:
            data = os.read(self.process.stdout.fileno(), 4096)
            if not data:
                break
            self.text += data
        self.is_open = sign in self.text
        if not self.is_open:
            self.close()
            assert b'locked: ' in self.text or b'lock' in self.text, self.text

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it was refused

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait(60)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def allowed_qcow2(first, one, second, other):
    """Nobody writes to what others use, but for those who want it so."""
    return SHARE in (one, other) or (one, other) == (READ, READ)


def allowed_raw(first, one, second, other):
    """Readers of a raw disk do not mind; two programs of QEMU may even write to one, the library is nobody's second."""
    return (one, other) != (WRITE, WRITE) or (first, second) == ('qemu', 'qemu')


def check_matrix(format, first, second, allowed):
    create('a', '1M', format)
    for one in MODES:
        for other in MODES:
            with Opened(first, one, 'a', format) as holder:
                assert holder.is_open, holder.text
                with Opened(second, other, 'a', format) as newcomer:
                    equal(newcomer.is_open, allowed(first, one, second, other),
                          '%s %ss, then %s %ss: %s' % (first, one, second, other, newcomer.text))


for format, allowed in [('qcow2', allowed_qcow2), ('raw', allowed_raw)]:
    for first in ['qemu', 'imago']:
        for second in ['qemu', 'imago']:
            add_test('%s: %s, then %s' % (format, first, second),
                     lambda format=format, first=first, second=second, allowed=allowed:
                     check_matrix(format, first, second, allowed))


@test
def test_killed():
    """a killed program leaves no lock"""
    create('a', '1M')
    holder = Opened('imago', WRITE, 'a')
    assert holder.is_open, holder.text
    holder.kill()
    qemu_io('a', ['write 0 64k'])


@test
def test_backing():
    """nobody writes to a backing file, of whatever format, while something above it is open"""
    for format in ['raw', 'qcow2']:
        create('base', '1M', format)
        good('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', format, 'top')
        for mode in [READ, WRITE]:
            with Opened('imago', mode, 'top') as holder:
                assert holder.is_open, holder.text
                for program in ['qemu', 'imago']:
                    assert not Opened(program, WRITE, 'base', format).is_open
                    with Opened(program, READ, 'base', format) as reader:
                        assert reader.is_open, reader.text
            with Opened('qemu', WRITE, 'base', format) as writer:
                assert writer.is_open, writer.text
                assert not Opened('imago', mode, 'top').is_open
        with Opened('qemu', WRITE, 'base', format), Opened('imago', SHARE, 'top') as reader:
            assert reader.is_open, reader.text


@test
def test_data_file():
    """an external data file is locked like its image"""
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=data,data_file_raw=on', 'a', '1M')
    for mode in [READ, WRITE]:
        with Opened('imago', mode, 'a') as holder:
            assert holder.is_open, holder.text
            assert not Opened('qemu', WRITE, 'data', 'raw').is_open
            with Opened('qemu', READ, 'data', 'raw') as reader:
                assert reader.is_open, reader.text
    with Opened('qemu', WRITE, 'data', 'raw'):
        assert not Opened('imago', READ, 'a').is_open


@test
def test_command():
    """the command refuses what is being written to, and says why; -U insists"""
    create('a', '1M')
    with Opened('qemu', WRITE, 'a') as holder:
        assert holder.is_open, holder.text
        for command in ['info', 'map']:
            refused = run(IMAGO, command, '-f', 'qcow2', 'a')
            equal(refused.status, 1)
            assert 'another process is writing to it' in refused.err, refused
            good(IMAGO, command, '-f', 'qcow2', '-U', 'a')
        assert qemu_img('info', 'a').status == 1


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
