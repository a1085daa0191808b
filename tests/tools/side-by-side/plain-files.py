# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The names that QEMU has for a file as such, where a format is asked for."""

from sidebyside import case, differs

RAW_DISK = 'a file as such is a raw disk'
differs(RAW_DISK, 'info', '-f', 'file', 'a.qcow2', status=0)
differs(RAW_DISK, 'info', '-f', 'file', '--output=json', 'base.raw', status=0)
for arguments in [['a.qcow2'], ['--output=json', 'a.qcow2'], ['base.raw']]:
    case('map', '-f', 'file', *arguments)
case('check', '-f', 'file', 'a.qcow2')
case('compare', '-f', 'file', '-F', 'raw', 'base.raw', 'base.raw')
case('compare', '-F', 'file', '-f', 'qcow2', 'a.qcow2', 'base.raw')
case('convert', '-f', 'file', '-O', 'qcow2', 'a.qcow2', 'new')
case('convert', '-f', 'raw', '-O', 'file', 'base.raw', 'new')
case('convert', '-f', 'raw', '-O', 'file', '-n', 'base.raw', 'sub/base.raw')
case('dd', '-f', 'file', '-O', 'file', 'if=base.raw', 'of=new', 'bs=64k', 'count=3')
case('resize', '-f', 'file', 'base.raw', '2M')
case('measure', '-f', 'file', '-O', 'qcow2', 'base.raw')
case('rebase', '-f', 'file', '-u', '-b', '', 'base.raw', error_text=False)
case('io', '-f', 'file', '-c', 'read -q -P 7 0 4k', '-c', 'write -q -P 9 4k 4k', 'base.raw')
case('create', '-q', '-f', 'file', 'new', '1M')
differs('the format is the one that was made', 'create', '-f', 'file', 'new', '1M', status=0)
# What an image says of the one below it is a format.
differs('a backing file has a format', 'create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'file', 'new', status=1)
differs('what is made has a format', 'measure', '-O', 'file', 'base.raw', status=1)
