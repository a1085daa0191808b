# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, differs, usage_cases

usage_cases('convert', 'a.qcow2', 'new')
case('convert', error_text=False)
case('convert', 'a.qcow2', error_text=False)
case('convert', 'nofile', 'new')
case('convert', '-f', 'bogus', 'a.qcow2', 'new')
case('convert', '-O', 'bogus', 'a.qcow2', 'new')
differs('nothing is created before the command line is understood', 'convert', '-t', 'bogus', 'a.qcow2', 'new', status=1)
case('convert', '-T', 'bogus', 'a.qcow2', 'new')
case('convert', '-C', '-S', '4k', 'a.qcow2', 'new', error_text=False)
for size in ['1000', 'abc', '17M']:
    case('convert', '-S', size, 'a.qcow2', 'new', error_text=False)
for number in ['0', '17', 'a', '-1']:
    case('convert', '-m', number, 'a.qcow2', 'new')
for name in IMAGES:
    case('convert', '-O', 'raw', name, 'new')
for options in [('-q',), ('-U',), ('-W',), ('-C',), ('-m', '4'), ('-t', 'none'), ('-T', 'unsafe'), ('-S', '64k'), ('-f', 'raw'),
                ('-f', 'qcow2')]:
    case('convert', '-O', 'raw', *options, 'a.qcow2', 'new')
case('convert', '-O', 'raw', '-l', 'one', 'snap.qcow2', 'new')
case('convert', '-O', 'raw', '-l', 'snapshot.name=two', 'snap.qcow2', 'new')
case('convert', '-O', 'raw', 'a.qcow2', 'odd.raw')
# The target as options.
case('convert', '--target-image-opts', 'a.qcow2', 'driver=qcow2,file.filename=v2.qcow2')
case('convert', '-n', '--target-image-opts', '-O', 'qcow2', 'a.qcow2', 'driver=qcow2,file.filename=v2.qcow2')
case('convert', '-n', '--target-image-opts', 'a.qcow2', 'v2.qcow2')
for target in ['driver=qcow2,file.filename=a.qcow2', 'driver=raw,file.filename=odd.raw', 'driver=raw,file.filename=base.raw',
               'driver=qcow2,file.filename=nofile', 'driver=qcow2,file.filename=a.qcow2,read-only=on']:
    for options in [(), ('-c',)]:
        case('convert', '-n', '--target-image-opts', *options, '-f', 'raw', 'base.raw', target,
             error_text=not target.startswith('driver=raw'))

# To qcow2.
for options in [(), ('-c',), ('-o', 'compat=0.10'), ('-o', 'cluster_size=4k', '-o', 'refcount_bits=8'), ('-o', 'preallocation=metadata'),
                ('-o', 'preallocation=full'), ('-S', '0'), ('-W', '-m', '2'), ('-q', '-p'), ('-r', '10M'), ('--salvage',),
                ('-c', '-o', 'compression_type=zstd'), ('-o', ''), ('-o', ','), ('-r', 'x'), ('-r', '9E'), ('-t', 'writethrough'),
                ('-t', 'directsync'), ('-B', 'base.raw', '-F', 'raw'), ('-B', 'base.raw'), ('-F', 'raw'),
                ('-o', 'backing_file=base.raw,backing_fmt=raw'), ('-o', 'backing_file=base.raw'), ('--force-share',)]:
    case('convert', '-O', 'qcow2', *options, 'a.qcow2', 'new')
for options in [('-o', 'bogus=1'), ('-o', 'preallocation=bogus'), ('-o', 'cluster_size=x'), ('-o', 'encryption=on')]:
    case('convert', '-O', 'qcow2', *options, 'a.qcow2', 'new', error_text=False)
differs('a target that cannot be opened afterwards is not left behind', 'convert', '-O', 'qcow2', '-B', 'nofile', '-F', 'raw', 'a.qcow2', 'new',
        status=1)
for options in [('-c', '-O', 'raw'), ('-c', '-C', '-O', 'qcow2'), ('-c', '-o', 'preallocation=full', '-O', 'qcow2'),
                ('-O', 'raw', '-B', 'base.raw', '-F', 'raw'), ('--salvage', '-C'), ('-S', '1X'), ('-S', ''), ('-S', '9E'), ('-S', '8M'),
                ('--target-is-zero',), ('-l', 'none')]:
    case('convert', *options, 'a.qcow2', 'new')
case('convert', '-O', 'qcow2', 'base.raw', 'a.qcow2', 'odd.raw', 'new')
case('convert', '-O', 'qcow2', '-B', 'base.raw', '-F', 'raw', 'base.raw', 'a.qcow2', 'new')
# What the source leaves to no backing file of its own is zero.
for name in ['comp.qcow2', 'small.qcow2', 'a.qcow2']:
    case('convert', '-O', 'qcow2', '-B', 'base.raw', '-F', 'raw', name, 'new')
for snapshot in ['none', 'snapshot.id=2', 'snapshot.id=2,snapshot.name=two']:
    case('convert', '-l', snapshot, 'snap.qcow2', 'new')
case('convert', '-l', 'one', 'snap.qcow2', 'a.qcow2', 'new')
differs('a snapshot is as long as the disk was then', 'convert', '-l', 'one', 'both.qcow2', 'new', status=0)
differs('QEMU takes it of the first', 'convert', '-l', 'snapshot.id=1', 'snap.qcow2', 'a.qcow2', 'new', status=1)
case('convert', '-l', 'one', 'base.raw', 'new')
case('convert', '-l', 'snapshot.bogus=2', 'snap.qcow2', 'new', error_text=False)
case('convert', '-n', '-O', 'qcow2', 'a.qcow2', 'v2.qcow2')
case('convert', '-n', '-O', 'qcow2', 'v2.qcow2', 'a.qcow2')
case('convert', '-n', '-O', 'raw', 'a.qcow2', 'nofile')
case('convert', '-n', '-O', 'raw', 'v2.qcow2', 'base.raw')
case('convert', '-n', '-O', 'raw', 'a.qcow2', 'base.raw', error_text=False)
case('convert', '-n', '--target-is-zero', '-O', 'qcow2', 'comp.qcow2', 'v2.qcow2')
differs('a mistake in the command line is a failure', 'convert', '-n', '--target-is-zero', '-B', 'base.raw',
        'comp.qcow2', 'v2.qcow2', status=1)
case('convert', '-n', '-o', 'cluster_size=4k', '-O', 'qcow2', 'comp.qcow2', 'v2.qcow2')
case('convert', '-n', '-c', '-O', 'qcow2', 'comp.qcow2', 'v2.qcow2')
case('convert', '-n', '-c', '-O', 'raw', 'comp.qcow2', 'base.raw')
for target in ['a.qcow2', 'none/new', '.', 'new/', 'empty.raw/']:
    case('convert', '-O', 'qcow2', 'a.qcow2', target, error_text=False)
differs('encrypted images cannot be opened', 'convert', '--object', 'secret,id=s0,data=abc', 'a.qcow2', 'new', status=1)
# What is to be there afterwards is there, whatever was.
differs('clusters that have space can be written compressed, too', 'convert', '-n', '-c', '-O', 'qcow2', 'comp.qcow2', 'a.qcow2',
        status=0)
