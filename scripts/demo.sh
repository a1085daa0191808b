#!/usr/bin/env bash
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Builds the library, installs it into a folder of its own under build/demo, and reads a disk with it.
#
#   scripts/demo.sh [IMAGE]      without IMAGE: a small disk that comes with the tests

image=${1-}
[ -z "$image" ] || image=$(realpath -- "$image") || exit 1

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -le 1 ] || die "usage: scripts/demo.sh [IMAGE]"
[ -z "$image" ] || [ -f "$image" ] || die "$1 is not a file"
image=${image:-$root/tests/data/disk.qcow2}

folder=$root/build/demo
prefix=$folder/prefix

say "What this machine lacks"
run scripts/install-deps.sh build run

say "Building into build/demo"
configure "$folder" --prefix="$prefix" --libdir=lib --buildtype=debugoptimized \
  -Dintrospection=enabled -Dvapi=disabled -Dtests=false
compile "$folder"

say "Installing into build/demo/prefix (nothing outside of it is touched)"
printf '$ meson install -C %s --no-rebuild --quiet\n' "$folder"
quietly meson install -C "$folder" --no-rebuild --quiet

name=$(basename -- "$image")
output=$folder/${name%.*}.raw

say "Reading $image from Python"
run env LD_LIBRARY_PATH="$prefix/lib" GI_TYPELIB_PATH="$prefix/lib/girepository-1.0" \
  /usr/bin/python3 scripts/demo.py "$image" "$output"

if command -v qemu-img >/dev/null; then
  say "A second opinion"
  run qemu-img compare -f raw "$output" "$image"
else
  say "qemu-img is not here, so nobody else was asked whether the result is right"
fi

say "Done"
cat <<END
Made: $output
      the whole disk as plain bytes; holes take no space ($(du -h "$output" | cut -f1) of $(du -h --apparent-size "$output" | cut -f1) are allocated)
Also: $prefix
      the library, its typelib for Python and JavaScript, and the command bin/imago
Try:  scripts/demo.sh YOUR-DISK.qcow2
END
