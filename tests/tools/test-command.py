# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The command beside qemu-img and qemu-io: exit codes, texts and JSON."""

import contextlib
import os
import re
import subprocess

from imagotest import (IMAGO, Skip, add_test, assert_fails, create, equal, good, imago, main, poke, qemu_img, qemu_io,
                       qemu_text_is_known, qemu_version, run, test, without_later_keys)

COMMANDS = ['bench', 'check', 'compact', 'convert', 'create', 'dd', 'formats', 'info', 'inspect', 'io', 'map', 'resize', 'snapshot']
PATTERN = ['write -P 1 64k 64k', 'write -z 256k 64k', 'write -P 3 1M 128k']


def make_chain():
    create('base.raw', '1M', 'raw')
    qemu_io('base.raw', ['write -P 7 0 4k', 'write -P 8 512k 64k'], '-f', 'raw')
    create('a.qcow2', '2M', backing=('base.raw', 'raw'))
    qemu_io('a.qcow2', PATTERN)
    return 'a.qcow2'


# ---- the dispatcher ----

@test
def test_help():
    """--help of the command and of each subcommand"""
    result = good(IMAGO, '--help')
    for command in COMMANDS:
        assert '  %s ' % command in result.out, result
        detail = good(IMAGO, command, '--help')
        assert detail.out.startswith('Usage: imago %s' % command), detail
        equal(detail.out, good(IMAGO, command, '-h').out)
    equal(result.out, good(IMAGO, '-h').out)


def spellings(option):
    found = []
    if 'letter' in option:
        found.append('-' + option['letter'])
    if 'name' in option:
        found.append('--' + option['name'])
    return found


@test
def test_options():
    """the table of options: complete, without contradictions, and what --help shows"""
    commands = good(IMAGO, '--dump-options').json()
    for command in commands:
        text = good(IMAGO, command['name'], '--help').out
        own = [option for option in command['options'] if option['group'] != 'hidden']
        names = [name for option in command['options'] for name in spellings(option)] + ['-h', '--help']
        # Two rows may have one letter, the later one for another long name; no two one name.
        long_names = [name for name in names if name.startswith('--')]
        equal(len(long_names), len(set(long_names)), command['name'])
        for option in own:
            assert option['help'] and spellings(option), option
            for name in spellings(option):
                assert re.search(r'(^|\s)%s([ =,]|$)' % re.escape(name), text, re.M), (command['name'], name)
        for option in command['options']:
            for name in spellings(option):
                # Known: what is missing is the argument, or help is what comes after it.
                if 'argument' in option:
                    assert_fails(imago(command['name'], name), *([] if command['name'] == 'resize' else ['missing argument']))
                elif option['supported'] and option.get('name') != 'version':
                    equal(imago(command['name'], name, '--help').out, text)
    names = {command['name'] for command in commands}
    assert set(COMMANDS) <= names, names
    text = good(IMAGO, '--help').out
    for command in commands:
        assert '  %-10s %s\n' % (command['name'], command['summary']) in text, command['name']
    assert all(len(line) <= 80 for line in good(IMAGO, 'create', '--help', env={'LC_ALL': 'C'}).out.splitlines())


@test
def test_later_names():
    """the names that options have in later versions of QEMU"""
    make_chain()
    short = good(IMAGO, 'map', '-f', 'qcow2', '-s', '64k', '-l', '64k', '--output', 'json', 'a.qcow2')
    equal(good(IMAGO, 'map', '--format=qcow2', '--start-offset=64k', '--max-length=64k', '--output=json', 'a.qcow2').out,
          short.out)
    good(IMAGO, 'create', '--quiet', '--format', 'qcow2', '--backing', 'base.raw', '--backing-format', 'raw',
         '--options', 'cluster_size=4k', 'one.qcow2')
    good(IMAGO, 'create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-B', 'raw', '-o', 'cluster_size=4k', 'two.qcow2')
    good('qemu-img', 'compare', '-s', 'one.qcow2', 'two.qcow2')
    good(IMAGO, 'create', '--backing-unsafe', '-f', 'qcow2', '-b', 'none', '-F', 'raw', 'three.qcow2', '1M')
    good(IMAGO, 'check', '--format=qcow2', '--quiet', '--cache=none', '--repair', 'all', 'one.qcow2')
    good(IMAGO, 'check', '--quiet', '--force-share', 'one.qcow2')
    good(IMAGO, 'convert', '--source-format=qcow2', '--target-format=raw', '--parallel=2', '--cache=unsafe',
         '--source-cache=none', '--quiet', 'a.qcow2', 'out')
    good(IMAGO, 'dd', '--format=qcow2', '--output-format=qcow2', 'if=a.qcow2', 'of=dd.qcow2')
    good('qemu-img', 'compare', 'a.qcow2', 'dd.qcow2')
    good(IMAGO, 'bench', '--write', '--count=3', '--depth=1', '--offset=4k', '--buffer-size=1k', '--step-size=2k',
         '--pattern=3', '--flush-interval=2', '--no-drain', '--aio=threads', '--native', '--cache=none', '--quiet',
         '--format=qcow2', 'dd.qcow2')
    good(IMAGO, 'snapshot', '--list', '--format=qcow2', '--force-share', '--quiet', 'a.qcow2')
    good(IMAGO, 'resize', '--format=qcow2', '--quiet', '--shrink', 'dd.qcow2', '-1M')


@test
def test_version():
    """--version"""
    result = good(IMAGO, '--version')
    assert re.match(r'^imago \(imago-glib\) \d+\.\d+\.\d+\n$', result.out), result
    equal(result.out, good(IMAGO, '-V').out)


def check_usage(*args, words=()):
    """The same exit status as qemu-img, the pointer to the help, nothing on stdout."""
    mine = imago(*args)
    assert not os.path.exists('out'), mine
    theirs = qemu_img(*args)
    with contextlib.suppress(FileNotFoundError):
        os.unlink('out')
    equal(mine.status, theirs.status, '%s\n%s' % (mine, theirs))
    assert_fails(mine, *words)
    equal(mine.out, '')


@test
def test_usage_errors():
    """mistakes in the command line"""
    make_chain()
    check_usage(words=['Not enough arguments', "Try 'imago --help'"])
    check_usage('bogus', words=['bogus'])
    check_usage('--bogus', words=['--bogus'])
    for command in ['info', 'map', 'convert', 'snapshot']:
        check_usage(command, words=["Try 'imago %s --help'" % command])
        check_usage(command, '--bogus', 'a.qcow2', words=["unrecognized option '--bogus'"])
    for command in ['info', 'map']:
        check_usage(command, 'a.qcow2', 'base.raw', words=['one image file name'])
        check_usage(command, '--output=xml', 'a.qcow2', words=['human or json'])
    check_usage('snapshot', '-l', '-l', 'a.qcow2', words=['Cannot mix'])
    check_usage('map', '--start-offset=abc', 'a.qcow2', words=['start offset'])
    check_usage('map', '--start-offset=-1', 'a.qcow2', words=['start offset'])
    check_usage('map', '--max-length=1X', 'a.qcow2', words=['max length'])
    check_usage('convert', 'a.qcow2', words=['Must specify image file name'])
    check_usage('convert', '-O', 'bogus', 'a.qcow2', 'out', words=['bogus'])
    check_usage('convert', '-t', 'bogus', 'a.qcow2', 'out', words=['Invalid cache option: bogus'])
    check_usage('convert', '-T', 'bogus', 'a.qcow2', 'out', words=['Invalid source cache option: bogus'])
    for size in ['1000', 'abc', '17M']:
        check_usage('convert', '-S', size, 'a.qcow2', 'out', words=['Invalid buffer size'])
    for number in ['0', '17', 'a', '-1']:
        check_usage('convert', '-m', number, 'a.qcow2', 'out', words=['coroutines'])
    check_usage('convert', '-C', '-S', '4k', 'a.qcow2', 'out', words=['offloading', '-S'])
    assert_fails(imago('formats', 'x'), "'x'")
    assert_fails(imago('inspect'), 'one image file name')
    assert not os.path.exists('out')


@test
def test_missing_file():
    """a file that does not exist, a folder, a bad format"""
    make_chain()
    for args in [('info', 'nofile'), ('map', 'nofile'), ('convert', 'nofile', 'out'), ('snapshot', '-l', 'nofile'),
                 ('snapshot', 'nofile'), ('info', '-f', 'raw', 'nofile')]:
        check_usage(*args, words=['nofile', 'No such file'])
    for args in [('info', '.'), ('map', '.'), ('convert', '.', 'out'), ('snapshot', '-l', '.')]:
        check_usage(*args, words=["'.'"])
    for args in [('info', '-f', 'bogus', 'a.qcow2'), ('map', '-f', 'bogus', 'a.qcow2'),
                 ('convert', '-f', 'bogus', 'a.qcow2', 'out')]:
        check_usage(*args, words=['bogus'])
    check_usage('info', '-f', 'qcow2', 'base.raw', words=['base.raw'])
    assert_fails(imago('inspect', 'nofile'), 'nofile', 'No such file')
    assert_fails(imago('io', '-c', 'length', 'nofile'), 'nofile', 'No such file')
    assert not os.path.exists('out')


def refuse(*args, option):
    def check():
        make_chain()
        assert_fails(imago(*args), 'option ' + option, 'not supported')
        assert not os.path.exists('out')
    add_test('refuses ' + ' '.join(args), check)


refuse('convert', '--object', 'secret,id=x', 'a.qcow2', 'out', option='--object')
for case in ['-a', '-c', '-d']:
    refuse('snapshot', case, 'x', 'a.qcow2', option=case)


# ---- info ----

def compare_info(*args, chains=((), ('-U',), ('--backing-chain',))):
    for options in chains:
        if qemu_text_is_known():
            equal(good(IMAGO, 'info', *options, *args).out, good('qemu-img', 'info', *options, *args).out)
        options += ('--output=json',)
        mine, theirs = good(IMAGO, 'info', *options, *args), good('qemu-img', 'info', *options, *args)
        equal(mine.json(), without_later_keys(theirs.json()))


def compare_map(options, name, theirs_options=None):
    """The map as text, and as JSON to the letter if this qemu-img prints what the command prints."""
    theirs_options = options if theirs_options is None else theirs_options
    equal(good(IMAGO, 'map', *options, name).out, good('qemu-img', 'map', *theirs_options, name).out)
    compare_map_json(options, name, theirs_options)


def compare_map_json(options, name, theirs_options=None):
    theirs_options = options if theirs_options is None else theirs_options
    mine = good(IMAGO, 'map', '--output=json', *options, name)
    theirs = good('qemu-img', 'map', '--output=json', *theirs_options, name)
    if qemu_version() < (8, 2):
        equal(mine.out, theirs.out)
    else:
        equal(mine.json(), without_later_keys(theirs.json()))


@test
def test_info():
    """info: text and JSON equal to qemu-img's, by relative and absolute names"""
    make_chain()
    good('qemu-img', 'snapshot', '-c', 'one', 'a.qcow2')
    good('qemu-img', 'bitmap', '--add', '-g', '64k', 'a.qcow2', 'bitmap 0')
    os.mkdir('sub')
    good('cp', 'a.qcow2', 'base.raw', 'sub')
    for name in ['a.qcow2', 'base.raw', './a.qcow2', 'sub/a.qcow2', 'sub/../a.qcow2', os.path.abspath('a.qcow2')]:
        compare_info(name)
    compare_info('-f', 'qcow2', 'a.qcow2')
    compare_info('-f', 'raw', 'a.qcow2')
    compare_info('-fqcow2', 'a.qcow2')


@test
def test_info_layout():
    """info --output=json is laid out as qemu-img's, for scripts that read lines"""
    if not qemu_text_is_known():
        raise Skip('qemu-img %d.%d prints more' % qemu_version())
    make_chain()
    mine = good(IMAGO, 'info', '--output', 'json', 'a.qcow2').out
    theirs = good('qemu-img', 'info', '--output', 'json', 'a.qcow2').out
    equal(sorted(line.rstrip(',') for line in mine.splitlines()),
          sorted(line.rstrip(',') for line in theirs.splitlines()))


@test
def test_info_flags():
    """info of dirty, corrupt, version 2 and data file images"""
    create('v2.qcow2', '1M', options='compat=0.10')
    create('dirty.qcow2', '1M', options='lazy_refcounts=on')
    poke('dirty.qcow2', 79, b'\x01')
    create('corrupt.qcow2', '1M')
    poke('corrupt.qcow2', 79, b'\x02')
    create('data.qcow2', '1M', options='data_file=d.raw,data_file_raw=on')
    create('odd.qcow2', '1000')
    create('big.qcow2', '10000000000')
    for name in ['v2.qcow2', 'dirty.qcow2', 'corrupt.qcow2', 'data.qcow2', 'odd.qcow2', 'big.qcow2']:
        compare_info(name)
    os.unlink('d.raw')
    compare_info('data.qcow2')


@test
def test_info_missing_backing():
    """info needs no backing file"""
    make_chain()
    os.unlink('base.raw')
    compare_info('a.qcow2', chains=[()])
    check_usage('info', '--backing-chain', 'a.qcow2', words=['base.raw'])


@test
def test_raw_sizes():
    """raw files of odd sizes, and an empty one"""
    for size in [0, 1, 511, 512, 513, 1000, 65536, 100001]:
        name = 'raw-%d.raw' % size
        with open(name, 'wb') as file:
            file.write(b'x' * size)
        compare_info(name)
        compare_map((), name)
        good(IMAGO, 'convert', name, 'mine')
        good('qemu-img', 'convert', '-O', 'raw', name, 'theirs')
        good('cmp', 'mine', 'theirs')
        equal(good(IMAGO, 'io', '-c', 'length', name).out, good('qemu-io', '-f', 'raw', '-c', 'length', name).out)


# ---- map ----

@test
def test_map():
    """map: text and JSON equal to qemu-img's"""
    make_chain()
    os.mkdir('sub')
    good('cp', 'a.qcow2', 'base.raw', 'sub')
    ranges = [(), ('--start-offset', '64k', '--max-length', '100k'), ('--start-offset=3M',), ('--max-length=0',),
              ('--start-offset=1536k',), ('--start-offset=1.5M', '--max-length=1K'), ('-s', '4096', '-l', '512k'), ('-U',)]
    for options in ranges:
        theirs_options = options if '-s' not in options else ('--start-offset=4096', '--max-length=512k')
        for name in ['a.qcow2', 'sub/a.qcow2', os.path.abspath('a.qcow2')]:
            compare_map(options, name, theirs_options)


@test
def test_map_compressed():
    """the text of map refuses compressed clusters, JSON lists them"""
    create('c.qcow2', '1M')
    qemu_io('c.qcow2', ['write -c -P 3 64k 64k', 'write -P 4 0 64k'])
    check_usage_same_out('map', 'c.qcow2')
    compare_map_json((), 'c.qcow2')


def check_usage_same_out(*args):
    mine, theirs = imago(*args), qemu_img(*args)
    equal(mine.out, theirs.out)
    equal(mine.err.replace('imago: ', ''), theirs.err.replace('qemu-img: ', ''))
    equal(mine.status, theirs.status)


@test
def test_map_data_file():
    """map names the external data file"""
    create('d.qcow2', '1M', options='data_file=d.raw')
    qemu_io('d.qcow2', ['write -P 4 64k 64k'])
    compare_map((), 'd.qcow2')


@test
def test_sizes():
    """numbers with suffixes, fractions and in hexadecimal, as qemu-img takes them"""
    create('a.raw', '4M', 'raw')
    for text in ['0', '512', '1k', '1K', '1.5k', '0.5M', '1M', '1m', '1b', '1.25M', '0x1000', '0X10', '010', '1G', '1T',
                 '7E', '8E', '', 'k', '1.5', '1.5b', '1e3', '1.5e3', '-1', '1 ', '1kk', '1kb', '1x', '0x', '0x1k',
                 '99999999999999999999', '16E', '.5k', 'nan', 'inf', '1,5k']:
        mine = imago('map', '--output=json', '--start-offset', text, 'a.raw')
        theirs = qemu_img('map', '--output=json', '--start-offset', text, 'a.raw')
        equal((mine.status, mine.out), (theirs.status, theirs.out), repr(text))


# ---- snapshot ----

@test
def test_snapshot():
    """snapshot -l: the table equal to qemu-img's"""
    create('s.qcow2', '1G')
    check_usage_same_out('snapshot', '-l', 's.qcow2')
    qemu_io('s.qcow2', ['write -P 1 0 64k'])
    for name in ['x', 'a very long name of a snapshot, more than fits', 'ünïcode']:
        good('qemu-img', 'snapshot', '-c', name, 's.qcow2')
    check_usage_same_out('snapshot', '-l', 's.qcow2')
    check_usage_same_out('snapshot', '-l', '-q', 's.qcow2')
    check_usage_same_out('snapshot', '-U', '-l', 's.qcow2')
    check_usage_same_out('snapshot', 's.qcow2')
    equal(good(IMAGO, 'snapshot', '-l', '-f', 'qcow2', 's.qcow2', env={'TZ': 'Asia/Kolkata'}).out,
          good('qemu-img', 'snapshot', '-l', 's.qcow2', env={'TZ': 'Asia/Kolkata'}).out)
    create('r.raw', '1M', 'raw')
    check_usage_same_out('snapshot', '-l', 'r.raw')


@test
def test_snapshot_fields():
    """snapshots with clocks, states and instruction counts, as QEMU shows them"""
    create('s.qcow2', '1M')
    good('qemu-img', 'snapshot', '-c', 'x', 's.qcow2')
    with open('s.qcow2', 'rb') as file:
        header = file.read(72)
    table = int.from_bytes(header[64:72], 'big')
    poke('s.qcow2', table + 16, (2000000000).to_bytes(4, 'big') + (123456789).to_bytes(4, 'big')
         + (123 * 3600 * 10**9 + 61 * 10**9 + 5006007).to_bytes(8, 'big'))
    poke('s.qcow2', table + 40, (5 << 30).to_bytes(8, 'big') + (1 << 20).to_bytes(8, 'big'))
    check_usage_same_out('snapshot', '-l', 's.qcow2')
    # Long before the columns were wide enough.
    poke('s.qcow2', table + 24, (2**64 - 1).to_bytes(8, 'big'))
    check_usage_same_out('snapshot', '-l', 's.qcow2')
    for icount in [0, 12345678901, 2**64 - 1]:
        poke('s.qcow2', table + 56, icount.to_bytes(8, 'big'))
        check_usage_same_out('snapshot', '-l', 's.qcow2')
        compare_info('s.qcow2')


# ---- io ----

RATE = re.compile(r'\d+\.\d\d sec \([0-9.e+]+ [A-Za-z]+/sec and [0-9.e+]+ ops/sec\)|\d+:\d\d:\d\d\.\d\d,[0-9.]+,[0-9.]+')


def io_both(*commands, same_text=True):
    """Runs the commands one process each with both; compares status and, but for times, text."""
    for command in commands:
        mine = imago('io', '-c', command, 'a.qcow2')
        theirs = run('qemu-io', '-r', '-c', command, 'a.qcow2')
        equal(mine.status, theirs.status, '%s\n%s' % (mine, theirs))
        if same_text:
            equal(RATE.sub('TIMES', mine.out), RATE.sub('TIMES', theirs.out), command)
            equal(mine.err, theirs.err, command)


@test
def test_io_read():
    """io: read and readv as in qemu-io"""
    make_chain()
    io_both('read -P 1 64k 64k', 'read -P 2 64k 64k', 'read -P 1 64k 128k', 'read -v 64k 64', 'read -v -q 64k 20',
            'read -vq 65530 33', 'read 3 7', 'read -p 0 4k', 'read -C 0 4k', 'read -C -q 0 1M', 'read -q 0 1M',
            'read -P 1 -s 512 64k 4k', 'read -P 1 -l 100 64k 4k', 'read -P 0 -s 1k -l 512 0 4k',
            'read -P 7 -s 1k -l 512 0 4k', 'read -s 512 -l 100 -P 1 64k 4k', 'readv -v 0 16 16', 'readv -P 1 64k 512 512',
            'readv -P 3 64k 512 512', 'read 1.5k 1k', 'read -P 0x1 0x10000 0x200', 'read -P 01 64k 512', 'read 0 0',
            'read 2M 0', '', '   ', 'read  -P  1   64k  64k')


@test
def test_io_errors():
    """io: mistakes as in qemu-io"""
    make_chain()
    io_both('read', 'read 0', 'read abc 4k', 'read 0 abc', 'read -P xx 0 4k', 'read -P 300 0 512', 'read -P -1 0 512',
            'read -P 0 -s 600 0 512', 'read -P 0 -l 600 0 512', 'read -P 0 -s 100 -l 500 0 512', 'bogus', 'help bogus',
            'map 3', 'length x', 'alloc', 'read 0 4294967296', 'quit 1')
    # Where qemu-io has more options to tell, the summary line differs.
    io_both('read -Z 0 4k', 'read -l 100 0 512', 'read -s 100 0 512', 'read 0 1 2', 'read -5 5', 'readv 0',
            same_text=False)
    # The text of an error is the library's own.
    io_both('read 0 3M', 'read 4294967296 512', 'read -C -q 1M 2M', 'read 2M 1', 'read 2097151 2', same_text=False)
    result = imago('io', '-c', 'break read_aio a', 'a.qcow2')
    equal(result.status, 1)
    assert 'not supported' in result.err, result


@test
def test_io_map():
    """io: length, map and alloc as in qemu-io"""
    make_chain()
    io_both('length', 'map', 'alloc 0 1M', 'alloc 0 512', 'alloc 0 0', 'alloc 512', 'alloc 64k', 'alloc 60k 8k',
            'alloc 0 2M', 'l', 'r 0 512', 'q')


@test
def test_io_session():
    """io: several commands, scripts, quit, help"""
    make_chain()
    options = {'a': ['-c', 'length', '-c', 'bogus', '-c', 'length'], 'b': ['-c', 'quit', '-c', 'bogus'],
               'c': ['-c', 'length', '-c', 'quit', '-c', 'length'], 'd': ['--cmd', 'length', '-r', '-U', '-n']}
    for commands in options.values():
        mine = imago('io', *commands, 'a.qcow2')
        theirs = run('qemu-io', *(commands + ([] if '-r' in commands else ['-r'])), 'a.qcow2')
        equal((mine.status, mine.out), (theirs.status, theirs.out))
    for script in ['length\nbogus\nread -P 9 0 512\nquit\nlength\n', 'length', '', '\n\nlength\n', 'quit\nbogus']:
        mine = imago('io', 'a.qcow2', stdin=script)
        theirs = run('qemu-io', '-r', 'a.qcow2', stdin=script)
        equal((mine.status, RATE.sub('', mine.out)),
              (theirs.status, RATE.sub('', theirs.out.replace('qemu-io> ', 'imago> '))))
    result = good(IMAGO, 'io', '-c', 'help')
    for command in ['alloc', 'help', 'length', 'map', 'quit', 'read', 'readv']:
        assert '\n%s ' % command in '\n' + result.out, result
        assert command in good(IMAGO, 'io', '-c', 'help ' + command).out
    equal(imago('io', '-c', 'length').status, 1)
    assert_fails(imago('io', 'a.qcow2', 'b'), 'one image file name')
    for option, value in [('-t', 'bogus'), ('-i', 'bogus'), ('-d', 'bogus')]:
        assert_fails(imago('io', option, value, '-c', 'length', 'a.qcow2'), 'bogus')
    good(IMAGO, 'io', '-t', 'none', '-i', 'native', '-d', 'unmap', '-k', '-c', 'length', 'a.qcow2')


# ---- formats and inspect ----

@test
def test_formats():
    """formats"""
    formats = {entry['name']: entry for entry in good(IMAGO, 'formats', '--output=json').json()}
    assert {'raw', 'qcow2'} <= set(formats)
    equal(set(formats['qcow2']), {'name', 'title', 'mime-types', 'suffixes', 'capabilities'})
    assert {'backing-file', 'data-file', 'compressed', 'snapshots', 'create', 'check'} <= set(formats['qcow2']['capabilities'])
    equal(formats['raw']['capabilities'], ['convert-target', 'create'])
    assert 'qcow2' in formats['qcow2']['suffixes']
    text = good(IMAGO, 'formats').out
    for name in formats:
        assert re.search('^%s ' % name, text, re.M), text


@test
def test_inspect():
    """inspect: what a file is and wants"""
    make_chain()
    good('qemu-img', 'snapshot', '-c', 'one', 'a.qcow2')
    result = imago('inspect', '--output=json', 'a.qcow2')
    equal(result.status, 2, str(result))
    report = result.json()
    equal(report, {
        'filename': 'a.qcow2',
        'formats': ['qcow2'],
        'file-size': os.path.getsize('a.qcow2'),
        'virtual-size': 2 << 20,
        'self-contained': False,
        'references': [{'role': 'backing-file', 'name': 'base.raw', 'format': 'raw', 'location': 'same-directory'}],
        'snapshots': 1,
        'unknown-features': [],
        'problems': [],
    })
    text = imago('inspect', 'a.qcow2')
    equal(text.status, 2)
    for line in ['file format: qcow2', 'wants backing-file: base.raw (format: raw; same-directory)', 'self-contained: no']:
        assert line + '\n' in text.out, text

    create('plain.qcow2', '1M')
    equal(imago('inspect', 'plain.qcow2').status, 0)
    report = good(IMAGO, 'inspect', '--output=json', 'base.raw').json()
    equal((report['formats'], report['self-contained'], report['virtual-size']), (['raw'], True, 1 << 20))


@test
def test_inspect_suspicious():
    """inspect: unknown features, encryption, references out of the folder"""
    create('unknown.qcow2', '1M')
    poke('unknown.qcow2', 72, b'\x80')
    result = imago('inspect', '--output=json', 'unknown.qcow2')
    equal((result.status, len(result.json()['unknown-features'])), (2, 1), str(result))

    create('encrypted.qcow2', '1M')
    poke('encrypted.qcow2', 32, (1).to_bytes(4, 'big'))
    result = imago('inspect', '--output=json', 'encrypted.qcow2')
    equal(result.json()['encryption'], 'aes')
    for command in [('map',), ('convert',)]:
        target = ['out'] if command == ('convert',) else []
        assert_fails(imago(*command, 'encrypted.qcow2', *target), 'aes')
    assert not os.path.exists('out')

    for name, location in [('/etc/passwd', 'elsewhere'), ('../x', 'elsewhere'), ('json:{}', 'no-file'),
                           ('nbd://localhost', 'no-file'), ('x', 'same-directory')]:
        create('w.qcow2', '1M')
        good('qemu-img', 'rebase', '-u', '-b', name, '-F', 'raw', 'w.qcow2')
        result = imago('inspect', '--output=json', 'w.qcow2')
        equal((result.status, result.json()['references'][0]['location']), (2, location))


@test
def test_control_characters():
    """names out of an image cannot play with the terminal"""
    create('a.qcow2', '1M')
    good('qemu-img', 'snapshot', '-c', 'x\x1b[31mred\x07', 'a.qcow2')
    good('qemu-img', 'rebase', '-u', '-b', 'b\x1b[2J', '-F', 'raw', 'a.qcow2')
    for args in [('info', 'a.qcow2'), ('snapshot', '-l', 'a.qcow2'), ('inspect', 'a.qcow2'), ('map', 'a.qcow2'),
                 ('info', '--output=json', 'a.qcow2'), ('map', 'x\x1b[31m')]:
        result = imago(*args)
        assert '\x1b' not in result.out + result.err, repr(str(result))
    equal(good(IMAGO, 'info', '--output=json', 'a.qcow2').json(),
          without_later_keys(good('qemu-img', 'info', '--output=json', 'a.qcow2').json()))


@test
def test_full_disk():
    """output that cannot be written is an error"""
    make_chain()
    if not os.path.exists('/dev/full'):
        return
    status = run('sh', '-c', '"$0" map --output=json a.qcow2 >/dev/full', IMAGO)
    assert_fails(status, 'Could not write the output')


@test
def test_closed_streams():
    """no image becomes a standard stream that is closed: nothing is printed into it"""
    create('a.raw', '1M', 'raw')
    for closed in ['>&-', '2>&-', '<&-', '>&- 2>&-', '<&- >&-', '<&- 2>&-', '<&- >&- 2>&-']:
        for command in [['compact', '-p', '-f', 'qcow2', 'a.qcow2'], ['resize', '-p', '-f', 'qcow2', 'a.qcow2', '8M'],
                        ['convert', '-p', '-n', '-f', 'raw', '-O', 'qcow2', 'a.raw', 'a.qcow2'],
                        ['check', '-r', 'all', '-f', 'qcow2', 'a.qcow2']]:
            create('a.qcow2', '4M')
            qemu_io('a.qcow2', ['write -P 0 0 2M', 'write -P 1 2M 64k'])
            status = run('sh', '-c', 'exec "$0" "$@" ' + closed, IMAGO, *command).status
            equal(status, 1 if '>&-' in closed.replace('2>&-', '') else 0, (closed, command))
            good('qemu-img', 'check', '-q', 'a.qcow2')


@test
def test_reader_leaves():
    """who no longer reads the progress stops nothing half way: only what could not be told is an error"""
    for command, result in [(['commit', '-f', 'qcow2', 'a.qcow2'], 'base.raw'),
                            (['rebase', '-b', '', '-f', 'qcow2', 'a.qcow2'], 'a.qcow2'),
                            (['resize', '--preallocation=full', '-f', 'qcow2', 'a.qcow2', '2M'], 'a.qcow2'),
                            (['convert', '-n', '-f', 'qcow2', '-O', 'raw', 'a.qcow2', 'target.raw'], 'target.raw'),
                            (['convert', '-f', 'qcow2', '-O', 'raw', 'a.qcow2', 'new.raw'], 'new.raw')]:
        create('base.raw', '1M', 'raw')
        create('target.raw', '1M', 'raw')
        create('a.qcow2', '1M', backing=('base.raw', 'raw'))
        qemu_io('a.qcow2', ['write -P 1 64k 64k'])
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([IMAGO, command[0], '-p', *command[1:]], stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        equal(done.returncode, 1, (command, done.stderr))
        assert 'Could not write the output' in done.stderr, (command, done.stderr)
        qemu_io(result, ['read -P 1 64k 64k'], '-f', 'raw' if result.endswith('.raw') else 'qcow2')
        good('qemu-img', 'check', '-q', 'a.qcow2')


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
