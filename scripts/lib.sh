# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash

# What the scripts share. Source it first; it moves to the top of the source tree.

set -euo pipefail
export LC_ALL=C.UTF-8
unset CDPATH

# meson runs as many tests at once as there are processors; those of the command wait for the disk for a third of
# their time, and would leave processors idle.
export MESON_TESTTHREADS=${MESON_TESTTHREADS:-$(($(nproc) * 3 / 2))}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say () {
  printf '\n== %s\n' "$*"
}

die () {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Shows a command, then runs it.
run () {
  printf '$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

# Runs a command and shows what it printed only if it failed.
quietly () {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    local status=$?
    cat "$log" >&2
    rm -f "$log"
    return "$status"
  fi
}

# need_root WHAT...: before the first as_root, so that a refusal or a question for the password is seen.
need_root () {
  [ "$(id -u)" = 0 ] && return
  command -v sudo >/dev/null || die "$* needs root, and there is no sudo: run scripts/install-deps.sh as root first"
  sudo -v || die "$* needs root"
}

as_root () {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

# configure FOLDER OPTION...: a meson build folder with exactly these options, kept if it has them already.
configure () {
  local folder=$1
  shift
  local wanted="$*"
  if [ -f "$folder/build.ninja" ] && [ "$(cat "$folder/.options" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  rm -rf "$folder"
  printf '$ meson setup %s %s\n' "$folder" "$wanted"
  quietly meson setup "$folder" "$@"
  printf '%s\n' "$wanted" >"$folder/.options"
}

# compile FOLDER: builds everything; the output appears only on failure.
compile () {
  printf '$ ninja -C %s\n' "$1"
  quietly ninja -C "$1"
}
