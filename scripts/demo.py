#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the library does for an application, from Python: inspect, describe, map, convert.

usage: demo.py IMAGE OUTPUT
"""

import sys

import gi

gi.require_version('Imago', '1.0')
from gi.repository import Gio, GLib, Imago  # noqa: E402

MAP_EXTENTS = 10000
MAP_LINES = 12


def inspect(file):
    """Look at one untrusted file without opening anything it names; return the name of its format."""
    inspection = Imago.inspect(file, None)
    names = [format.get_name() for format in inspection.get_formats()]
    print(f'  formats that match   {", ".join(names) or "none: plain bytes (raw)"}')
    print(f'  file size            {inspection.get_file_size():,} bytes')
    print(f'  size of the disk     {inspection.get_virtual_size():,} bytes')
    print(f'  snapshots            {inspection.get_n_snapshots()}')
    for reference in inspection.get_references():
        print(f'  refers to            {reference.dup_display_name()} ({reference.get_role().value_nick})')
    for problem in inspection.get_problems() or []:
        print(f'  problem              {problem}')
    if len(names) > 1:
        sys.exit('This file is several formats at once, which no honest disk is: the demo stops here.')
    return names[0] if names else 'raw'


def describe(image):
    layer = image
    while layer:
        info = layer.query_info(None)
        print(f'  {info.props.filename}')
        print(f'    {info.props.format_name}, {info.props.virtual_size:,} bytes, '
              f'{info.props.actual_size:,} allocated'
              + (f', clusters of {info.props.cluster_size:,}' if info.props.cluster_size else ''))
        for snapshot in info.props.snapshots or []:
            print(f'    snapshot {snapshot.get_name()} of {snapshot.get_date_time().format("%F %T")}')
        for bitmap in info.props.bitmaps or []:
            print(f'    bitmap {bitmap.get_name()}')
        layer = layer.dup_backing()


def show_map(image):
    """Print the block map, neighbours of one kind in one layer joined."""
    extents = image.map_extents(0, image.get_size(), MAP_EXTENTS, Imago.MapFlags.NONE, None)
    runs = []
    for i in range(extents.get_n()):
        extent = extents.get(i)
        key = (extent.get_kind().value_nick, extent.get_depth())
        if not runs or runs[-1][0] != key:
            runs.append([key, extent.get_offset(), 0])
        runs[-1][2] += extent.get_length()
    end = 0
    for (kind, depth), offset, length in runs[:MAP_LINES]:
        print(f'  {offset:>18,} {length:>18,}  {kind:12} layer {depth}')
        end = offset + length
    if end < image.get_size():
        print(f'  {end:>18,} …')


def convert(image, output):
    """Run the job asynchronously, as a graphical program would."""
    loop = GLib.MainLoop()
    failures = []

    def progressed(job, _property):
        filled = round(job.props.progress * 40)
        print(f'\r  [{"#" * filled:40}] {job.props.progress:6.1%}', end='', flush=True)

    def finished(job, result):
        try:
            job.run_finish(result)
        except GLib.Error as error:
            failures.append(error)
        loop.quit()

    job = Imago.ConvertJob.new(image, output)
    job.set_overwrite(True)
    job.connect('notify::progress', progressed)
    job.run_async(GLib.PRIORITY_DEFAULT, None, finished)
    loop.run()
    progressed(job, None)
    print()
    if failures:
        raise failures[0]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    file, output = (Gio.File.new_for_path(path) for path in sys.argv[1:])

    print('\nImago.inspect(): what is it? (opens this file and no other)')
    format_name = inspect(file)

    print('\nImago.Image.open() and query_info(): the disk and what is below it')
    options = Imago.OpenOptions(format_name=format_name, reference_policy=Imago.SameDirectoryPolicy.new())
    image = Imago.Image.open(file, options, None)
    describe(image)

    print('\nmap_extents(): where the bytes are')
    show_map(image)

    print('\nread_bytes(): the first sector')
    sector = image.read_bytes(0, min(512, image.get_size()), None).get_data() or b''
    print(f'  {sector[:16].hex(" ")} … {sector[-2:].hex(" ")}')

    print(f'\nImago.ConvertJob: {output.get_path()}')
    convert(image, output)
    image.close(None)


if __name__ == '__main__':
    try:
        main()
    except GLib.Error as error:
        if error.matches(Imago.error_quark(), Imago.Error.REFERENCE_DENIED):
            sys.exit(f'\n{error.message}\n\nA disk may name other files, and an untrusted one may name any file of yours.\n'
                     'The demo follows such names only inside the folder of the image.\n'
                     'Put the files side by side, or look at the other policies: ImagoReferencePolicy.')
        sys.exit(f'\n{error.message}')
