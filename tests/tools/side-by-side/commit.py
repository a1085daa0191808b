# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, differs, usage_cases

usage_cases('commit', 'a.qcow2')
case('commit')
case('commit', 'a.qcow2', 'x')
case('commit', 'nofile')
for options in [(), ('-q',), ('-d',), ('-b', 'base.raw'), ('-b', 'nofile'), ('-t', 'none'), ('-t', 'bogus'), ('-r', '1M'), ('-r', 'x'), ('-r', '9E'),
                ('-f', 'bogus'), ('-f', 'qcow2')]:
    case('commit', *options, 'a.qcow2')
case('commit', '--image-opts', 'driver=qcow2,file.filename=a.qcow2')
for options in [(), ('-b', 'base.raw'), ('-b', '../base.raw')]:
    case('commit', *options, 'sub/over.qcow2')
differs('a name from the current folder is understood, too', 'commit', '-b', 'sub/base.raw', 'sub/over.qcow2', status=0)
case('commit', 'v2.qcow2')
case('commit', '-f', 'raw', 'base.raw')
