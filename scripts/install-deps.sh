#!/usr/bin/env bash
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Installs what is missing, from Debian packages. Nothing happens when all is there.
#
#   scripts/install-deps.sh [GROUP]...      groups: build run test docs sanitizers (default: build run)

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The compiler, the libraries and what makes the typelib and the translations.
build=(build-essential meson ninja-build pkg-config gettext python3
       libglib2.0-dev zlib1g-dev libdeflate-dev libisal-dev libzstd-dev liblzma-dev liburing-dev libjson-glib-dev
       gobject-introspection libgirepository1.0-dev)

# Using the typelib from Python.
run=(python3 python3-gi gir1.2-glib-2.0)

# The other languages, programs that the tests compare with, and real disks to read.
test=(valac gjs qemu-utils strace fdisk mypy fio curl xz-utils zstd
      zsh fish groff-base mandoc locales
      gvfs gvfs-backends dbus-daemon gir1.2-gtk-4.0 xvfb imagemagick libxtst6
      forensics-samples-multiple grub-rescue-pc memtest86+)

docs=(gtk-doc-tools docbook-xml docbook-xsl xsltproc libglib2.0-doc)

sanitizers=(clang valgrind libc6-dbg libglib2.0-0)

# clang's sanitizer and fuzzer runtime carries clang's version in its name.
clang_runtime () {
  local version
  version=$(apt-cache depends clang 2>/dev/null | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p')
  [ -n "$version" ] && echo "libclang-rt-$version-dev"
}

installed () {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build run)

wanted=()
for group in "${groups[@]}"; do
  case $group in
    build|run|test|docs|sanitizers)
      declare -n packages=$group
      wanted+=("${packages[@]}")
      ;;
    *)
      die "no such group: $group"
      ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "This is not a Debian system: make sure that you have what these packages hold:"
  printf '  %s\n' "${wanted[@]}" | sort -u
  exit 0
fi

# Package lists are needed only to install something, and may be absent or old on a fresh machine.
refreshed=no
refresh () {
  [ $refreshed = no ] || return 0
  say "Fetching the lists of packages"
  quietly as_root apt-get update -q
  refreshed=yes
}

missing=()
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done
case " ${groups[*]} " in
  *" sanitizers "*)
    if ! compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null; then
      runtime=$(clang_runtime) || { need_root "fetching the lists of packages"; refresh; runtime=$(clang_runtime); } ||
        die "no package of clang's runtime"
      missing+=("$runtime")
    fi
    ;;
esac
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
need_root "installing ${missing[*]}"

install () {
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

for package in "${missing[@]}"; do
  if ! apt-cache show "$package" >/dev/null 2>&1; then
    refresh
    break
  fi
done
say "Installing ${missing[*]}"
if ! install; then
  [ $refreshed = no ] || die "the packages could not be installed"
  refresh
  install || die "the packages could not be installed"
fi
