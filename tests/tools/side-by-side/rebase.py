# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, differs, usage_cases

usage_cases('rebase', '-b', '', 'a.qcow2')
case('rebase')
case('rebase', 'a.qcow2')
case('rebase', '-b', '', 'a.qcow2', 'x')
case('rebase', '-b', '', 'nofile')
for options in [(), ('-u',), ('-q',), ('-t', 'none'), ('-t', 'bogus'), ('-T', 'bogus'), ('-T', 'unsafe'), ('-U',), ('-f', 'bogus')]:
    case('rebase', *options, '-b', '', 'a.qcow2')
for options in [('-u', '-b', 'nofile', '-F', 'raw'), ('-u', '-b', 'nofile'), ('-b', 'nofile', '-F', 'raw'), ('-b', 'odd.raw', '-F', 'raw'),
                ('-b', 'base.raw'), ('-b', 'base.raw', '-F', 'bogus'), ('-u', '-b', 'base.raw', '-F', 'bogus'), ('-F', 'raw')]:
    case('rebase', *options, 'a.qcow2')
case('rebase', '-u', '-F', 'raw', '-b', 'base.raw', '--image-opts', 'driver=qcow2,file.filename=a.qcow2')
case('rebase', '-b', '../base.raw', '-F', 'raw', 'sub/over.qcow2')
case('rebase', '-f', 'raw', '-b', 'x', '-F', 'raw', 'base.raw')
case('rebase', '-b', 'a.qcow2', '-F', 'qcow2', 'a.qcow2', error_text=False)
differs('qemu-img lets the new backing file show through a disk of version 2 that had none', 'rebase', '-b', 'base.raw', '-F', 'raw', 'v2.qcow2',
        status=0)
differs('qemu-img copies nothing if the file is the same, as whatever format', 'rebase', '-b', 'small.qcow2',
        '-F', 'raw', 'old.qcow2', status=0)
differs('an image is not put onto itself', 'rebase', '-b', 'a.qcow2', '-F', 'raw', 'a.qcow2', status=1)
