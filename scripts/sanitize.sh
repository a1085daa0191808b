#!/usr/bin/env bash
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# The tests under sanitizers: ASan and UBSan over everything that runs our code (Python and JavaScript
# too), TSan over the suites in C, valgrind over a short list; and clang, which warns of other things than
# gcc and builds the fuzz targets.
#
#   scripts/sanitize.sh [address] [thread] [valgrind] [clang]      default: all

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(address thread valgrind clang)
status=0
folders=()

# Programs that parse hostile bytes or hand memory between the core and GLib. (A check of whole images takes
# minutes in valgrind, and AddressSanitizer sees it.)
valgrind_tests='qcow2($|-header|-map)|table-cache|storage|error|image|policy|stream'

# select_tests FOLDER PATTERN: names of the test programs in C that match the pattern.
select_tests () {
  meson introspect --tests "$1" | python3 -c '
import json, re, sys
for test in json.load(sys.stdin):
    suites = {suite.rpartition(":")[2] for suite in test["suite"]}
    if suites & {"unit", "glib"} and re.search(sys.argv[1], test["name"]):
        print(test["name"])' "$2"
}

# ThreadSanitizer's memory map does not fit where the kernel randomises more than it expects.
fixed_addresses=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
  fixed_addresses=(setarch -R)
fi

# test_in FOLDER LOG ARGUMENT...: a run of meson test that will be counted. (meson itself appends the wrapper's
# name to the name of the log.)
test_in () {
  local folder=$1 log=$2
  shift 2
  rm -f "$folder/meson-logs/$log".*
  run "${fixed_addresses[@]}" meson test -C "$folder" --no-rebuild --print-errorlogs --logbase "${log%-valgrind}" "$@" || true
  folders+=("$folder:$log")
}

address () {
  say "AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan"
  configure build/asan -Db_sanitize=address,undefined -Db_lundef=false -Dauto_features=enabled \
    -Dc_args=-fno-sanitize-recover=undefined
  # While building, only the scanner of introspection runs our code, and it never frees.
  ASAN_OPTIONS=detect_leaks=0 compile build/asan
  UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=$root/scripts/lsan.supp:print_suppressions=0 \
    test_in build/asan testlog --no-suite house --no-suite combinations --timeout-multiplier 4
}

thread () {
  say "ThreadSanitizer, in build/tsan"
  configure build/tsan -Db_sanitize=thread -Db_lundef=false -Dintrospection=disabled -Dvapi=disabled \
    -Dtools=disabled
  compile build/tsan
  # GSlice hands memory from thread to thread under such a lock too; malloc is understood.
  G_SLICE=always-malloc TSAN_OPTIONS=suppressions=$root/scripts/tsan.supp:print_suppressions=0:second_deadlock_stack=1 \
    test_in build/tsan testlog --suite unit --suite glib --suite threads --timeout-multiplier 6
}

memcheck () {
  say "valgrind, on the build of scripts/test.sh"
  configure build/test -Dauto_features=enabled -Ddocs=true -Dwerror=true
  compile build/test
  local names
  mapfile -t names < <(select_tests build/test "$valgrind_tests")
  [ ${#names[@]} -gt 0 ] || die "no test for valgrind was found"
  G_SLICE=always-malloc test_in build/test testlog-valgrind --timeout-multiplier 10 \
    --wrapper "valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite
               --errors-for-leak-kinds=definite --num-callers=30
               --suppressions=/usr/share/glib-2.0/valgrind/glib.supp" "${names[@]}"
}

with_clang () {
  say "clang, in build/clang"
  CC=clang configure build/clang -Dwerror=true -Dfuzzing=true -Dintrospection=disabled -Dvapi=disabled
  compile build/clang
  test_in build/clang testlog --suite unit --suite glib --suite fuzz-regress
}

say "What this machine lacks"
run scripts/install-deps.sh build run test docs sanitizers

for kind in "${kinds[@]}"; do
  case $kind in
    address) address ;;
    thread) thread ;;
    valgrind) memcheck ;;
    clang) with_clang ;;
    *) die "no such sanitizer: $kind" ;;
  esac
done

say "Results under the sanitizers"
scripts/count-results.py --expected-skips scripts/expected-skips.txt "${folders[@]}" || status=1
exit $status
