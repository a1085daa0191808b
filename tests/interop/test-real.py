# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Disks that Debian ships: raw, and as qcow2 plain, compressed with zlib and with zstd, and in chains.

Argument 1 is the number of the disk in the list."""

import lzma
import os
import shutil
import sys
import tempfile

from imagotest import Skip, add_test, create, good, main, qemu_io
from interop import compare_all, compare_content, compare_map

DISKS = [
    ('four file systems', '/usr/share/forensics-samples/fs.multiple.xz', 'forensics-samples-multiple'),
    ('a rescue disk', '/usr/lib/grub-rescue/grub-rescue-cdrom.iso', 'grub-rescue-pc'),
    ('a floppy', '/usr/lib/grub-rescue/grub-rescue-floppy.img', 'grub-rescue-pc'),
    ('a memory tester', '/usr/lib/memtest86+/memtest86+x64.iso', 'memtest86+'),
]


store = tempfile.TemporaryDirectory(prefix='imago-real-')


def unpack(path, package):
    """Makes disk.raw, sparse; once for all tests."""
    kept = os.path.join(store.name, 'disk.raw')
    if not os.path.exists(path):
        raise Skip('not installed: %s' % package)
    if not os.path.exists(kept):
        opener = lzma.open if path.endswith('.xz') else open
        with opener(path, 'rb') as source, open('plain.raw', 'wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
        good('cp', '--sparse=always', 'plain.raw', kept)
        os.unlink('plain.raw')
    os.symlink(kept, 'disk.raw')


def check_raw():
    compare_all('disk.raw')


def check_qcow2(options):
    good('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', *options, 'disk.raw', 'disk.qcow2')
    compare_all('disk.qcow2')


def check_chain():
    """A compressed base, a changed overlay, a snapshot of it, and a window of zeroes on top."""
    good('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-c', 'disk.raw', 'base.qcow2')
    create('mid.qcow2', backing=('base.qcow2', 'qcow2'))
    qemu_io('mid.qcow2', ['write -P 1 4k 8k', 'write -z 256k 192k', 'discard 512k 128k'])
    good('qemu-img', 'snapshot', '-c', 'before', 'mid.qcow2')
    qemu_io('mid.qcow2', ['write -P 2 100k 300k'])
    create('top.qcow2', options='cluster_size=4k', backing=('mid.qcow2', 'qcow2'))
    qemu_io('top.qcow2', ['write -P 3 0 512', 'write -z 640k 4k'])
    compare_all('mid.qcow2')
    compare_map('top.qcow2')
    compare_content('top.qcow2')


VARIANTS = [
    ('raw', None),
    ('qcow2', ()),
    ('qcow2 of 512-byte clusters', ('-o', 'cluster_size=512')),
    ('qcow2, zlib', ('-c',)),
    ('qcow2, zlib, 2 MiB clusters', ('-c', '-o', 'cluster_size=2M')),
    ('qcow2, zstd', ('-c', '-o', 'compression_type=zstd')),
    ('qcow2, zstd, extended L2', ('-c', '-o', 'compression_type=zstd,extended_l2=on')),
    ('qcow2, version 2, zlib', ('-c', '-o', 'compat=0.10')),
]


def make_test(path, package, options):
    def run():
        unpack(path, package)
        if options is None:
            check_raw()
        else:
            check_qcow2(options)
    return run


def make_chain_test(path, package):
    def run():
        unpack(path, package)
        check_chain()
    return run


if __name__ == '__main__':
    title, disk, owner = DISKS[int(sys.argv[1])]
    for variant, chosen in VARIANTS:
        # A quarter of a gigabyte in half-kilobyte clusters tests patience.
        if 'xz' not in disk or 'cluster_size=512' not in (chosen or ()):
            add_test('%s: %s' % (title, variant), make_test(disk, owner, chosen))
    add_test('%s: a chain' % title, make_chain_test(disk, owner))
    main(needs=['qemu-img', 'qemu-io'])
