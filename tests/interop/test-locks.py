# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Locks on image files: who may use one image at a time, here and in QEMU's programs."""

import contextlib
import fcntl
import itertools
import os
import struct
import subprocess
import sys
import threading

from imagotest import IMAGO, TIMEOUT, add_test, assert_fails, create, equal, good, imago, main, qemu_img, \
    qemu_io, run, test

HOLD_IMAGE = sys.argv[1]

# ---- users ----


class Holder:
    """A program that opens an image and keeps it open as long as its standard input is."""

    def __init__(self, args):
        self.args = args
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0)
        self.timer = threading.Timer(TIMEOUT, self.process.kill)
        self.timer.start()

    def stop(self):
        self.process.stdin.close()
        rest = self.process.stdout.read().decode('utf-8', 'replace')
        status = self.process.wait()
        self.timer.cancel()
        self.process.stdout.close()
        return status, rest

    def read_line(self):
        line = self.process.stdout.readline().decode('utf-8', 'replace')
        assert line.endswith('\n'), 'no answer from %s: %r' % (self.args, line)
        return line[:-1]

    def ask(self, command):
        self.process.stdin.write(command.encode() + b'\n')
        return self.read_line()


@contextlib.contextmanager
def held(args):
    holder = Holder(args)
    try:
        yield holder
    finally:
        if not holder.process.stdin.closed:
            holder.stop()


class Qemu:
    name = 'qemu'
    options = {'read': ['-r'], 'write': [], 'force-share': ['-r', '-U']}

    @classmethod
    @contextlib.contextmanager
    def hold(cls, format, mode, image):
        # It opens the image before it looks at its input, so the answer to a command says that it is open.
        with held(['qemu-io', '-f', format, *cls.options[mode], image]) as holder:
            holder.process.stdin.write(b'length\n')
            line = holder.read_line()
            assert 'lock' not in line and 'MiB' in line, line
            yield holder

    @classmethod
    def is_refused(cls, format, mode, image):
        result = run('qemu-io', '-f', format, *cls.options[mode], '-c', 'length', image)
        assert (result.status == 0) == ('MiB' in result.out), result
        if result.status != 0:
            assert 'lock' in result.err + result.out, result
        return result.status != 0


class Imago:
    name = 'imago'

    @staticmethod
    @contextlib.contextmanager
    def hold(format, mode, image):
        with held([HOLD_IMAGE, format, mode, image]) as holder:
            equal(holder.read_line(), 'open')
            yield holder

    @staticmethod
    def answer(format, mode, image):
        return good(HOLD_IMAGE, format, mode, image).out.rstrip('\n')

    @classmethod
    def is_refused(cls, format, mode, image):
        answer = cls.answer(format, mode, image)
        assert answer == 'open' or answer.startswith('refused: '), answer
        return answer != 'open'


PROGRAMS = (Qemu, Imago)
MODES = ('read', 'write', 'force-share')
USERS = list(itertools.product(PROGRAMS, MODES))

# ---- who may be there beside whom ----


def share_format(first, second):
    """Images of a format: many read, or one writes; force-share looks on."""
    modes = {first[1], second[1]}
    return 'force-share' in modes or modes == {'read'}


def share_raw(first, second):
    """Raw disks may be read by anybody. QEMU's tools write one together; the library writes alone."""
    modes = [first[1], second[1]]
    return modes != ['write', 'write'] or (first[0] is Qemu and second[0] is Qemu)


def check_pair(format, may_share, first, second):
    image = create('a.' + format, '1M', format)
    with first[0].hold(format, first[1], image):
        refused = second[0].is_refused(format, second[1], image)
        equal(refused, not may_share(first, second), '%s %s, then %s %s' % (
            first[0].name, first[1], second[0].name, second[1]))
    # Whatever came of it, nothing is left behind.
    with Imago.hold(format, 'write', image):
        pass
    assert not Qemu.is_refused(format, 'write', image)


def add_matrix(format, may_share):
    for first, second in itertools.product(USERS, USERS):
        add_test('%s: %s %s, then %s %s' % (format, first[0].name, first[1], second[0].name, second[1]),
                 lambda first=first, second=second: check_pair(format, may_share, first, second))


add_matrix('qcow2', share_format)
add_matrix('raw', share_raw)

# ---- the bytes ----


def locked_bytes(image):
    """The bytes that somebody has locked, as the protocol finds them."""
    found = set()
    with open(image, 'rb') as file:
        for byte in range(300):
            query = struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            answer = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, query)
            if struct.unpack('hhqqi4x', answer)[0] != fcntl.F_UNLCK:
                found.add(byte)
    return found


@test
def test_bytes():
    """the same bytes as QEMU's, but that raw disks are written alone"""
    create('a.qcow2', '1M')
    create('a.raw', '1M', 'raw')
    for mode in MODES:
        seen = []
        for program in PROGRAMS:
            with program.hold('qcow2', mode, 'a.qcow2'):
                seen.append(locked_bytes('a.qcow2'))
            equal(locked_bytes('a.qcow2'), set())
        equal(seen[0], seen[1], mode)
    for mode, expected in [('read', {100}), ('write', {100, 101, 103, 201, 203}), ('force-share', {100})]:
        with Imago.hold('raw', mode, 'a.raw'):
            equal(locked_bytes('a.raw'), expected, mode)


@test
def test_chain():
    """backing files and data files as QEMU does it; raw ones too are kept from being written"""
    create('base.raw', '1M', 'raw')
    create('middle.qcow2', backing=('base.raw', 'raw'))
    create('top.qcow2', options='data_file=data.raw', backing=('middle.qcow2', 'qcow2'))
    names = ['base.raw', 'middle.qcow2', 'top.qcow2', 'data.raw']
    for mode in MODES:
        seen = []
        for program in PROGRAMS:
            with program.hold('qcow2', mode, 'top.qcow2'):
                seen.append([locked_bytes(name) for name in names])
            equal([locked_bytes(name) for name in names], [set()] * 4)
        theirs, mine = seen
        # The library alone does not share the raw files with those that write.
        if mode != 'force-share':
            theirs[0] |= {201, 203}
            theirs[3] |= {201, 203}
        equal(theirs, mine, mode)


@test
def test_backing_in_use():
    """nobody writes to a backing file of whatever format, and none is used while somebody does"""
    for format in ['raw', 'qcow2']:
        create('base', '1M', format)
        create('top.qcow2', backing=('base', format))
        create('other.qcow2', backing=('base', format))
        for mode in ['read', 'write']:
            check_backing_in_use(format, mode)


def check_backing_in_use(format, mode):
    with Imago.hold('qcow2', mode, 'top.qcow2'):
        for program in PROGRAMS:
            assert program.is_refused(format, 'write', 'base')
            assert not program.is_refused(format, 'read', 'base')
            assert not program.is_refused('qcow2', 'write', 'other.qcow2')
    for program in PROGRAMS:
        with program.hold(format, 'write', 'base'):
            answer = Imago.answer('qcow2', mode, 'top.qcow2')
            assert 'Cannot open the backing file “base”: ' in answer and '/base” is in use: ' in answer, answer
            # What was locked on the way is free again.
            equal(locked_bytes('top.qcow2'), set())
            assert not Imago.is_refused('qcow2', 'force-share', 'top.qcow2')


@test
def test_data_file():
    """an external data file is locked like its image"""
    create('a.qcow2', '1M', options='data_file=data,data_file_raw=on')
    for mode in ['read', 'write']:
        with Imago.hold('qcow2', mode, 'a.qcow2'):
            for program in PROGRAMS:
                assert program.is_refused('raw', 'write', 'data')
                assert not program.is_refused('raw', 'read', 'data')
    for program in PROGRAMS:
        with program.hold('raw', 'write', 'data'):
            assert Imago.is_refused('qcow2', 'read', 'a.qcow2')
            equal(locked_bytes('a.qcow2'), set())


@test
def test_killed():
    """a killed program leaves no lock"""
    create('a.qcow2', '1M')
    with Imago.hold('qcow2', 'write', 'a.qcow2') as holder:
        holder.process.kill()
        holder.process.wait()
        equal(locked_bytes('a.qcow2'), set())
        qemu_io('a.qcow2', ['write 0 64k'])


# ---- this process ----


def answers(*args):
    return good(HOLD_IMAGE, *args).out.splitlines()


@test
def test_one_process():
    """one process is told so, in words, and shares as two do"""
    create('a.qcow2', '1M')
    os.symlink('a.qcow2', 'link')
    os.link('a.qcow2', 'other')
    for first, second in itertools.product(MODES, MODES):
        for name in ['a.qcow2', 'link', 'other']:
            one, other = answers('qcow2', first, 'a.qcow2', second, name)
            equal(one, 'open')
            if share_format((Imago, first), (Imago, second)):
                equal(other, 'open')
            else:
                assert other.startswith('refused: ') and name in other and 'this process' in other, other
    equal(locked_bytes('a.qcow2'), set())


@test
def test_words():
    """the message says who is in the way, and of which file"""
    create('a.qcow2', '1M')
    for program in PROGRAMS:
        with program.hold('qcow2', 'write', 'a.qcow2'):
            equal(Imago.answer('qcow2', 'read', 'a.qcow2').rsplit('“', 1)[1],
                  '%s” is in use: another process is writing to it' % os.path.realpath('a.qcow2'))
        with program.hold('qcow2', 'read', 'a.qcow2'):
            answer = Imago.answer('qcow2', 'write', 'a.qcow2')
            assert answer.endswith('another process is using it and lets nobody write to it'), answer
    one, other = answers('qcow2', 'write', 'a.qcow2', 'read', 'a.qcow2')
    assert other.endswith('this process has it open for writing'), other
    one, other = answers('qcow2', 'read', 'a.qcow2', 'write', 'a.qcow2')
    assert other.endswith('this process has it open for reading'), other


@test
def test_shared_holder():
    """the last of those who share one file gives it back"""
    create('a.qcow2', '1M')
    with held([HOLD_IMAGE, 'qcow2', 'read', 'a.qcow2', 'read', 'a.qcow2', 'force-share', 'a.qcow2']) as holder:
        equal([holder.read_line() for _ in range(3)], ['open'] * 3)
        # The first one's descriptor is the one that has the locks.
        equal(holder.ask('close 0'), 'closed')
        assert Qemu.is_refused('qcow2', 'write', 'a.qcow2')
        equal(locked_bytes('a.qcow2'), {100, 201, 203})
        equal(holder.ask('close 1'), 'closed')
        equal(locked_bytes('a.qcow2'), {100})
        assert not Qemu.is_refused('qcow2', 'write', 'a.qcow2')
        equal(holder.ask('close 2'), 'closed')
        equal(locked_bytes('a.qcow2'), set())


@test
def test_close():
    """closing unlocks the whole chain, though the images live on"""
    create('base.qcow2', '1M')
    create('top.qcow2', backing=('base.qcow2', 'qcow2'))
    with held([HOLD_IMAGE, 'qcow2', 'write', 'top.qcow2']) as holder:
        equal(holder.read_line(), 'open')
        assert locked_bytes('top.qcow2') and locked_bytes('base.qcow2')
        equal(holder.ask('close 0'), 'closed')
        equal((locked_bytes('top.qcow2'), locked_bytes('base.qcow2')), (set(), set()))
        assert not Qemu.is_refused('qcow2', 'write', 'base.qcow2')


@test
def test_policies():
    """locking can be asked for and left out"""
    create('a.qcow2', '1M')
    with Imago.hold('qcow2', 'on-write', 'a.qcow2'):
        equal(locked_bytes('a.qcow2'), {100, 101, 103, 201, 203})
        assert not Imago.is_refused('qcow2', 'none-read', 'a.qcow2')
        assert Imago.is_refused('qcow2', 'on-read', 'a.qcow2')
    with Imago.hold('qcow2', 'none-write', 'a.qcow2'):
        equal(locked_bytes('a.qcow2'), set())


# ---- the command ----

COMMANDS = [['info'], ['map', '--output=json'], ['snapshot', '-l'], ['io', '-r', '-c', 'read 0 4k']]


@test
def test_force_share_of_data_file():
    """-U looks on at an external data file, too, also below another image"""
    create('a.qcow2', '1M', options='data_file=data,data_file_raw=on')
    qemu_io('a.qcow2', ['write -P 5 0 64k'])
    create('top.qcow2', backing=('a.qcow2', 'qcow2'))
    for program, held_one in itertools.product(PROGRAMS, [('qcow2', 'a.qcow2'), ('raw', 'data')]):
        with program.hold(held_one[0], 'write', held_one[1]):
            for name in ['a.qcow2', 'top.qcow2']:
                assert_fails(imago('convert', name, 'out.raw'), 'another process is writing to it')
                for command in [['map'], ['measure', '-O', 'raw'], ['info', '--backing-chain']]:
                    good(IMAGO, command[0], '-U', *command[1:], name)
                good(IMAGO, 'convert', '-U', name, 'out.raw')
                qemu_io('out.raw', ['read -P 5 0 64k'], '-f', 'raw')
                os.unlink('out.raw')


@test
def test_command():
    """commands refuse what is being written, as qemu-img does, and -U looks on"""
    create('a.qcow2', '1M')
    for program in PROGRAMS:
        with program.hold('qcow2', 'write', 'a.qcow2'):
            for command in COMMANDS:
                assert_fails(imago(*command, 'a.qcow2'), 'a.qcow2', 'another process is writing to it')
                good(IMAGO, command[0], '-U', *command[1:], 'a.qcow2')
            for command in COMMANDS[:3]:
                equal(qemu_img(*command, 'a.qcow2').status, 1)
                good('qemu-img', command[0], '-U', *command[1:], 'a.qcow2')
            assert_fails(imago('convert', 'a.qcow2', 'out.raw'), 'another process is writing to it')
            assert not os.path.exists('out.raw')
            good(IMAGO, 'convert', '-U', 'a.qcow2', 'out.raw')
            os.unlink('out.raw')
        with program.hold('qcow2', 'read', 'a.qcow2'):
            for command in COMMANDS:
                good(IMAGO, *command, 'a.qcow2')


@test
def test_info_of_raw():
    """what is written as raw can be looked at"""
    create('a.raw', '1M', 'raw')
    for program in PROGRAMS:
        with program.hold('raw', 'write', 'a.raw'):
            good(IMAGO, 'info', '-f', 'raw', 'a.raw')
            good(IMAGO, 'map', '--output=json', '-f', 'raw', 'a.raw')


@test
def test_convert_raw():
    """a raw disk is not copied while it is written, though it can be read; both programs say so"""
    create('a.raw', '1M', 'raw')
    for program in PROGRAMS:
        with program.hold('raw', 'write', 'a.raw'):
            assert_fails(imago('convert', '-f', 'raw', 'a.raw', 'out.raw'), 'another process is writing to it')
            equal(qemu_img('convert', '-f', 'raw', 'a.raw', 'out.raw').status, 1)
            assert not os.path.exists('out.raw')
            good(IMAGO, 'convert', '-U', '-f', 'raw', 'a.raw', 'out.raw')
            os.unlink('out.raw')
            good('qemu-img', 'convert', '-U', '-f', 'raw', 'a.raw', 'out.raw')
            os.unlink('out.raw')
        for mode in ['read', 'force-share']:
            with program.hold('raw', mode, 'a.raw'):
                good(IMAGO, 'convert', '-f', 'raw', 'a.raw', 'out.raw')
        os.unlink('out.raw')


@test
def test_replaced():
    """what somebody counts on is not replaced, by neither program"""
    for format in ['raw', 'qcow2']:
        create('a.raw', '1M', 'raw')
        for program in PROGRAMS:
            for mode in ['read', 'write']:
                create('target', '1M', format)
                with program.hold(format, mode, 'target'):
                    theirs = qemu_img('convert', '-n', '-f', 'raw', '-O', 'raw', 'a.raw', 'target').status
                    mine = imago('convert', '-f', 'raw', 'a.raw', 'target')
                    # QEMU's tools read and write a raw disk beside others, and so may lose it for them.
                    if format == 'raw' and (mode == 'read' or program is Qemu):
                        equal((theirs, mine.status), (0, 0))
                    else:
                        equal(theirs, 1)
                        assert_fails(mine, 'target', 'another process')
                assert not [name for name in os.listdir('.') if name.startswith('.imago')]


main(['qemu-img', 'qemu-io'])
