# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What the parts of the benchmark share."""

import subprocess
import sys

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SEED = 20
# An odd number of blocks, so that it visits every block of a power of two before it repeats.
STRIDE = 49999 * 4096
# The default of the library; the working sets are chosen by it.
DECODED_CACHE = 4 * MIB


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(*command, **options):
    options.setdefault("stdout", subprocess.DEVNULL)
    subprocess.run([str(word) for word in command], check=True, **options)


def parse_result(text):
    """The last line of a program: name=value words."""
    return dict(word.split("=", 1) for word in text.strip().splitlines()[-1].split())
