#!/usr/bin/env bash
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Installs what is missing, builds in build/test and runs every test. The last line is
# "N passed, N failed, N skipped", counted from what the tests reported. Arguments go to meson test:
#
#   scripts/test.sh [--suite NAME]...

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$root/build/test

say "What this machine lacks"
run scripts/install-deps.sh build run test docs

say "Building into build/test"
configure "$folder" -Dauto_features=enabled -Ddocs=true -Dwerror=true
compile "$folder"

say "Testing"
rm -f "$folder"/meson-logs/testlog*
run meson test -C "$folder" --no-rebuild --print-errorlogs "$@" || true

say "Results"
scripts/count-results.py --expected-skips scripts/expected-skips.txt "$folder"
