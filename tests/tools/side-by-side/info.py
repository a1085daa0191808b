# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import IMAGES, case, usage_cases

usage_cases('info', 'a.qcow2')
case('info')
case('info', 'a.qcow2', 'base.raw')
case('info', '--output=xml', 'a.qcow2')
case('info', '--output')
case('info', 'nofile')
case('info', '.')
case('info', '-f', 'qcow2', 'base.raw')
case('info', '-f', 'bogus', 'a.qcow2')
case('info', '-f', 'raw', 'a.qcow2')
case('info', '-f', 'raw', '--output=json', 'a.qcow2')
for name in IMAGES + ['leak.qcow2', 'corrupt.qcow2']:
    case('info', name)
    case('info', '--output=json', name)
for name in ['a.qcow2', 'sub/over.qcow2', 'snap.qcow2', 'base.raw', 'ext.qcow2']:
    case('info', '--backing-chain', name)
    case('info', '--backing-chain', '--output=json', name)
    case('info', '-U', name)
case('info', '--force-share', '--output', 'human', './a.qcow2')
