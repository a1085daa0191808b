# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import QCOW2, case, usage_cases

usage_cases('dd', 'if=a.qcow2', 'of=new')
case('dd')
case('dd', 'if=a.qcow2')
case('dd', 'of=new')
case('dd', 'if=nofile', 'of=new')
case('dd', 'if=a.qcow2', 'of=none/new')
case('dd', 'if=a.qcow2', 'of=new/')
case('dd', 'if=a.qcow2', 'of=empty.raw/')
case('dd', 'if=a.qcow2', 'of=new', 'x=3')
case('dd', 'if=a.qcow2', 'of=new', 'x')
case('dd', 'if=a.qcow2', 'of=new', 'bs')
case('dd', '-f', 'bogus', 'if=a.qcow2', 'of=new')
case('dd', '-O', 'bogus', 'if=a.qcow2', 'of=new')
for name in ['bs', 'count', 'skip']:
    for size in ['x', '-1', '', '9E', '1.5', '1X']:
        case('dd', '%s=%s' % (name, size), 'if=a.qcow2', 'of=new')
case('dd', 'bs=0', 'if=a.qcow2', 'of=new')
case('dd', 'bs=2G', 'if=a.qcow2', 'of=new')
for name in QCOW2 + ['odd.raw', 'empty.raw']:
    case('dd', 'bs=64k', 'if=' + name, 'of=new')
    case('dd', 'bs=64k', '-O', 'qcow2', 'if=' + name, 'of=new')
for operands in [('bs=1M', 'count=1'), ('bs=1k', 'count=100', 'skip=60'), ('bs=700', 'count=30', 'skip=2'), ('count=0',),
                 ('skip=1',), ('bs=1M', 'skip=2'), ('bs=1M', 'skip=3'), ('bs=4k', 'skip=0x10'), ('bs=1M', 'count=1k')]:
    for output in ['raw', 'qcow2']:
        case('dd', '-O', output, *operands, 'if=a.qcow2', 'of=new')
case('dd', '-U', 'bs=1M', 'if=a.qcow2', 'of=new')
case('dd', '-f', 'raw', 'bs=1M', 'if=a.qcow2', 'of=new')
case('dd', 'bs=1M', 'if=a.qcow2', 'of=snap.qcow2')
