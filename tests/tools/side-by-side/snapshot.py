# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, differs

LATER = 'later versions of QEMU have this option'

case('snapshot', '--bogus', 'snap.qcow2')
case('snapshot', '-Z', 'snap.qcow2')
case('snapshot', 'snap.qcow2', '--object')
case('snapshot')
case('snapshot', '-l')
case('snapshot', '-l', '-l', 'snap.qcow2')
case('snapshot', '-l', 'snap.qcow2', 'a.qcow2')
case('snapshot', '-l', 'nofile')
case('snapshot', 'nofile')
for name in IMAGES:
    case('snapshot', '-l', name)
case('snapshot', 'snap.qcow2')
case('snapshot', '-q', '-l', 'snap.qcow2')
case('snapshot', '-U', '-l', 'snap.qcow2')
differs(LATER, 'snapshot', '-l', '-f')
differs(LATER, 'snapshot', '-l', '-f', 'bogus', 'snap.qcow2')
differs(LATER, 'snapshot', '-f', 'qcow2', '-l', 'snap.qcow2', status=0)
for option in ['-a', '-c', '-d']:
    differs('internal snapshots can be listed only', 'snapshot', option, 'one', 'snap.qcow2', status=1)
