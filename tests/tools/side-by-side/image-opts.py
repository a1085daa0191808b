# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

from sidebyside import case, differs

GOOD = ['driver=qcow2,file.filename=a.qcow2', 'driver=qcow2,file.driver=file,file.filename=a.qcow2', 'file.filename=a.qcow2',
        'driver=raw,file.filename=a.qcow2', 'driver=qcow2,file.filename=a.qcow2,read-only=on',
        'driver=qcow2,file.filename=a.qcow2,l2-cache-size=1M,lazy-refcounts=on,cache.direct=off',
        'driver=qcow2,file.filename=a.qcow2,force-share=on,node-name=n0,discard=unmap,detect-zeroes=on',
        'driver=qcow2,file.filename=a.qcow2,file.locking=auto,file.read-only=on']
BAD = ['driver=bogus,file.filename=a.qcow2', 'driver=qcow2,file.filename=a.qcow2,bogus=1', 'a.qcow2', 'driver=qcow2', 'driver=raw',
       'driver=qcow2,file=x', 'driver=qcow2,file.filename=a.qcow2,read-only=maybe', 'driver=qcow2,file.filename=nofile',
       'driver=qcow2,file.filename=,,x', 'driver=qcow2,file.driver=bogus,file.filename=a.qcow2', 'driver=qcow2,file.filename=base.raw']
JSON = ['json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}', 'json:{"driver":"qcow2","file.filename":"a.qcow2"}',
        'json:{"file.filename":"a.qcow2"}', 'json:{"driver":"raw","file":{"driver":"file","filename":"a.qcow2"},"read-only":true}',
        'json:{bad', 'json:[]', 'json:', 'json:{}', 'json:{"driver":"qcow2","file":"x"}', 'json:{"driver":"qcow2","file":[1]}',
        'json:{"driver":"qcow2","file.filename":"a.qcow2","bogus":1}', 'file:a.qcow2', 'file:nofile']

for text in GOOD + BAD:
    case('info', '--image-opts', text)
    case('map', '--image-opts', text)
for text in GOOD:
    case('info', '--output=json', '--image-opts', text)
    case('map', '--output=json', '--image-opts', text)
    case('check', '--image-opts', text)
    case('dd', 'bs=64k', '--image-opts', 'if=' + text, 'of=new')
for text in JSON:
    case('info', text)
    case('map', '--output=json', text)
case('info', '-f', 'raw', JSON[0])
case('info', '--backing-chain', '--image-opts', GOOD[0])
case('info', '-f', 'qcow2', '--image-opts', GOOD[0], error_text=False)
case('check', '--output=json', '--image-opts', GOOD[0])
case('snapshot', '-l', '--image-opts', 'driver=qcow2,file.filename=snap.qcow2')
case('resize', '--image-opts', 'driver=qcow2,file.filename=v2.qcow2', '+1M')
case('resize', '--image-opts', 'driver=qcow2,file.filename=v2.qcow2,read-only=on', '+1M')
case('resize', 'json:{"driver":"qcow2","file.filename":"v2.qcow2"}', '+1M')
case('bench', '-c', '5', '--image-opts', GOOD[0])
case('convert', '-O', 'raw', '--image-opts', GOOD[0], 'new')
case('convert', '-O', 'raw', JSON[0], 'new')
case('io', '--image-opts', '-c', 'length', GOOD[0])
case('io', '-c', 'length', '-c', 'write 0 64k', JSON[0])
case('io', '-r', '-c', 'length', 'file:a.qcow2')
for window in ['offset=512,size=1024', 'offset=64k', 'size=4k', 'offset=1M', 'size=1M', 'offset=0,size=0']:
    if window in ['offset=512,size=1024', 'offset=64k']:
        differs('offsets are those in the part', 'map', '--output=json', '--image-opts',
                'driver=raw,file.filename=base.raw,' + window, status=0)
    else:
        case('map', '--output=json', '--image-opts', 'driver=raw,file.filename=base.raw,' + window)
    case('dd', 'bs=64k', '--image-opts', 'if=driver=raw,file.filename=base.raw,' + window, 'of=new')
case('map', '--image-opts', 'driver=raw,offset=2M,file.filename=base.raw')
case('map', '--image-opts', 'driver=raw,offset=512k,size=1M,file.filename=base.raw')
case('map', '--image-opts', 'driver=raw,offset=x,file.filename=base.raw', error_text=False)
differs('a part of a file is shown under the name of the file', 'info', '--image-opts',
        'driver=raw,offset=512,size=1024,file.filename=base.raw', status=0)
differs('a file as such is a raw disk', 'info', '--image-opts', 'driver=file,filename=a.qcow2', status=0)
# Nothing shows through; what the image names may be missing then.
NO_BACKING = 'json:{"driver": "qcow2", "file": {"driver": "file", "filename": "%s"}, "backing": null}'
for name in ['sub/over.qcow2', 'a.qcow2']:
    case('compare', NO_BACKING % name, name)
    case('convert', '-O', 'raw', NO_BACKING % name, 'new')
    case('info', NO_BACKING % name)
    case('io', '-c', 'map', '-c', 'write -q -P 3 0 64k', '-c', 'read -q -P 3 0 64k', NO_BACKING % name)
case('info', 'json:{"driver": "raw", "file": {"driver": "file", "filename": "base.raw"}, "backing": null}', error_text=False)
case('info', 'json:{"driver": "qcow2", "file": {"driver": "file", "filename": "a.qcow2"}, "backing": "base.raw"}', error_text=False)
for option in ['backing.file.filename=base.raw', 'backing.driver=raw,backing.file.filename=base.raw']:
    differs('the files below are those that the image names', 'map', '--image-opts',
            'driver=qcow2,file.filename=a.qcow2,' + option, status=1)
# Who detects zeroes to give space back must be allowed to; some commands are, if nobody says otherwise.
UNMAP = 'driver=qcow2,file.filename=comp.qcow2,detect-zeroes=unmap'
for more in ['', ',discard=unmap', ',discard=on', ',discard=off', ',discard=ignore', ',file.discard=unmap']:
    case('info', '--image-opts', UNMAP + more)
for more in ['', ',file.discard=ignore', ',file.discard=unmap', ',discard=ignore']:
    case('info', '--image-opts', 'driver=raw,file.filename=base.raw,file.detect-zeroes=unmap' + more)
case('map', '--output=json', '--image-opts', UNMAP)
case('convert', '-O', 'raw', '--image-opts', UNMAP, 'new')
case('convert', '-n', '--target-image-opts', 'base.raw', UNMAP)
case('convert', '-n', '-S', '0', '--target-image-opts', 'base.raw', UNMAP)
case('commit', '--image-opts', 'driver=qcow2,file.filename=a.qcow2,detect-zeroes=unmap')
case('rebase', '-u', '-b', '', '--image-opts', UNMAP)
case('io', '-c', 'write -q -z 0 4k', '--image-opts', UNMAP)
case('io', '-d', 'ignore', '-c', 'write -q -z 0 4k', '--image-opts', UNMAP)
for option in ['discard=x', 'discard=unmap', 'detect-zeroes=x', 'detect-zeroes=on', 'file.discard=x']:
    case('info', '--image-opts', 'driver=qcow2,file.filename=comp.qcow2,' + option)
