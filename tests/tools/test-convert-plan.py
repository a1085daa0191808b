# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""imago convert --dry-run, and file systems that are too small."""

import json
import os
import shutil
import subprocess

from imagotest import IMAGO, Skip, create, equal, good, imago, main, qemu_io, run, same_content, test

MIB = 1 << 20


def plan(*args, status=0):
    result = imago('convert', '--dry-run', '--output=json', *args)
    equal((result.status, result.err), (status, ''))
    return json.loads(result.out)


@test
def test_numbers():
    """the sizes are those of qemu-img measure, for what is copied, and of statvfs"""
    create('a.qcow2', '64M')
    qemu_io('a.qcow2', ['write -P 1 0 3M', 'write -P 2 20M 64k', 'write -z 30M 1M'])
    for options in [(), ('-o', 'cluster_size=4096'), ('-o', 'preallocation=full'), ('-o', 'compat=0.10')]:
        theirs = json.loads(good('qemu-img', 'measure', '--output=json', '-O', 'qcow2', *options, 'a.qcow2').out)
        mine = plan('-O', 'qcow2', *options, 'a.qcow2', 'new')
        equal((mine['required'], mine['fully-allocated']), (theirs['required'], theirs['fully-allocated']))
    mine = plan('a.qcow2', 'new')
    equal((mine['required'], mine['fully-allocated'], mine['losses']), (3 * MIB + 65536, 64 * MIB, []))
    equal(plan('-S', '0', 'a.qcow2', 'new')['required'], 64 * MIB)
    equal(plan('--length', '64k', 'a.qcow2', 'new')['required'], 65536)
    equal(mine['room'], 'enough')
    assert mine['available'] >= os.statvfs('.').f_bavail * os.statvfs('.').f_frsize // 2
    equal(os.listdir(), ['a.qcow2'])


@test
def test_text():
    """for a person, in sentences"""
    create('base.qcow2', '1M')
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'a.qcow2')
    good('qemu-img', 'snapshot', '-c', 'one', 'a.qcow2')
    good('qemu-img', 'bitmap', '--add', 'a.qcow2', 'b')
    lines = good(IMAGO, 'convert', '--dry-run', 'a.qcow2', 'new').out.splitlines()
    equal([line for line in lines if not line.startswith('available: ')],
          ['required size (at most): 0', 'fully allocated size: 1048576', 'room: enough',
           'lost: 1 internal snapshot is not copied', 'lost: 1 persistent bitmap is not copied',
           'lost: The result has no backing file: it holds all of the disk itself'])
    equal(plan('a.qcow2', 'new')['losses'], ['snapshots', 'bitmaps', 'backing-file'])
    equal(plan('-O', 'qcow2', '-B', 'base.qcow2', '-F', 'qcow2', 'a.qcow2', 'new')['losses'],
          ['snapshots', 'bitmaps'])
    assert not os.path.exists('new')


@test
def test_losses():
    """an external data file, a size that is no whole sector; an image that is there"""
    good('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=data', 'a.qcow2', '1M')
    equal(plan('a.qcow2', 'new')['losses'], ['data-file'])
    equal(plan('-O', 'qcow2', '-o', 'data_file=data2', 'a.qcow2', 'new')['losses'], [])
    with open('odd', 'wb') as file:
        file.write(b'x' * 1000)
    equal(plan('-f', 'raw', 'odd', 'new')['losses'], ['size'])
    with open('there', 'wb') as file:
        file.truncate(MIB)
    before = os.stat('there').st_mtime_ns
    found = plan('-n', 'a.qcow2', 'there')
    equal((found['room'], 'available' in found, found['losses']), ('unknown', False, ['data-file']))
    equal(os.stat('there').st_mtime_ns, before)


@test
def test_refused():
    """what a dry run cannot do"""
    create('a.qcow2', '1M')
    equal(imago('convert', '--output=json', 'a.qcow2', 'new').status, 1)
    equal(imago('convert', '--dry-run', 'missing', 'new').status, 1)
    equal(imago('convert', '--dry-run', '-O', 'qcow2', '-o', 'cluster_size=3', 'a.qcow2', 'new').status, 1)
    equal(os.listdir(), ['a.qcow2'])


# ---- a small file system ----

def in_small(script):
    """What a shell does in a file system of one MiB that only it sees; "$imago" is the command."""
    shell = 'mkdir small && mount -t tmpfs -o size=1m small small && cd small && ' + script
    if shutil.which('unshare') is None:
        raise Skip('unshare is not installed')
    for namespaces in ('-m', '-rm'):
        if subprocess.run(['unshare', namespaces, 'sh', '-c', 'mkdir probe && mount -t tmpfs probe probe'],
                          capture_output=True).returncode == 0:
            os.rmdir('probe')
            result = run('unshare', namespaces, 'sh', '-c', shell, env={'imago': IMAGO})
            os.rmdir('small')
            return result
        if os.path.exists('probe'):
            os.rmdir('probe')
    raise Skip('nothing may be mounted here')


def make_source(noise, zeroes=0):
    with open('source', 'wb') as file:
        file.write(os.urandom(noise) + bytes(zeroes))


@test
def test_too_little():
    """what cannot fit is refused before anything is written, and leaves nothing"""
    make_source(MIB + 4096)
    for options in ['', '-O qcow2', '-S 0', '-O qcow2 -o cluster_size=4k']:
        result = in_small(f'"$imago" convert -f raw {options} ../source new; echo $?; ls -A')
        equal(result.out, '1\n')
        assert 'bytes left, too few for the disk: No space left on device' in result.err, result.err
    result = in_small('"$imago" convert --dry-run --output=json -f raw ../source new; echo $?')
    assert '"too-little"' in result.out and result.out.endswith('}\n1\n'), result.out
    result = in_small('"$imago" convert --ignore-space -f raw ../source new; echo $?; ls -A')
    equal(result.out, '1\n')
    assert 'No space left on device' in result.err and 'too few' not in result.err, result.err


@test
def test_fits():
    """what can fit is not refused: to the last block, over zeroes that are allocated, and compressed"""
    make_source(MIB)
    equal(in_small('"$imago" convert -f raw ../source new && cmp ../source new; echo $?').out, '0\n')
    make_source(MIB // 2, 4 * MIB)
    result = in_small('"$imago" convert --dry-run --output=json -f raw ../source new &&'
                      '"$imago" convert -f raw ../source new && cmp ../source new; echo $?')
    assert '"uncertain"' in result.out and result.out.endswith('}\n0\n'), (result.out, result.err)
    with open('source', 'wb') as file:
        file.write(b'zip' * MIB)
    result = in_small('"$imago" convert -c -O qcow2 -f raw ../source new && "$imago" convert -O raw new ../back; echo $?')
    equal(result.out, '0\n')
    same_content('source', 'back')


if __name__ == '__main__':
    main(needs=['qemu-img', 'qemu-io'])
