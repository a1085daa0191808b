#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The counter of scripts/test.sh tells the truth: it runs a small project whose results are known.

usage: test-counting.py MESON
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import tree
import tap

PROJECT = {
    'meson.build': '''
project('counting', meson_version: '>= 1.0')
sh = find_program('sh')
foreach name, script : {
  'good': 'echo 1..3; echo ok 1 one; echo ok 2 two; echo "ok 3 three # SKIP no tape drive"',
  'bad': 'echo 1..2; echo ok 1 one; echo not ok 2 two; exit 1',
  'crash': 'echo 1..2; echo ok 1 one; kill -SEGV $$',
  'late': 'echo 1..2; echo ok 1 one; sleep 30',
  'silent': 'true',
  'short': 'echo 1..2; echo ok 1 one',
  'status': 'echo 1..1; echo ok 1 one; exit 3',
  'nothing': 'echo "1..0 # SKIP no network"',
}
  test(name, sh, args: ['-c', script], protocol: 'tap', suite: 'tap', timeout: 2)
endforeach
test('plain', sh, args: ['-c', 'true'], suite: 'plain')
test('plain-bad', sh, args: ['-c', 'exit 1'], suite: 'plain')
test('plain-skip', sh, args: ['-c', 'echo no tape drive; exit 77'], suite: 'plain')
''',
    'skips.txt': '# a comment\nbuild: .*tap / good / .*three.*  # tapes are rare\n.*tap / nothing  # so are networks\n'
                 '.*plain / plain-skip  # and tape drives\n',
    'fewer-skips.txt': 'build: .*tap / good / .*three.*  # tapes are rare\n',
}
FOLDER = tempfile.TemporaryDirectory(prefix='imago-counting-')
HERE = pathlib.Path(FOLDER.name)
MESON = sys.argv[1]
COUNT = [sys.executable, tree.ROOT / 'scripts' / 'count-results.py']


def count(*arguments):
    return subprocess.run([*COUNT, *map(str, arguments)], capture_output=True, text=True)


@tap.test
def counts_every_kind_of_result():
    for name, text in PROJECT.items():
        (HERE / name).write_text(text)
    # This program's own meson must not be seen by the one it runs.
    env = {name: value for name, value in os.environ.items() if not name.startswith('MESON')}
    subprocess.run([MESON, 'setup', HERE / 'build', HERE], env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([MESON, 'test', '-C', HERE / 'build'], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    result = count('--expected-skips', HERE / 'skips.txt', HERE / 'build')
    # passed: good 2, bad 1, crash 1, late 1, short 1, status 1, plain 1
    # failed: bad 1, and one for each of crash, late, silent, short, status, plain-bad
    # skipped: good 1, nothing, plain-skip
    tap.equal(result.stdout.splitlines()[-1:], ['8 passed, 7 failed, 3 skipped'], result.stdout + result.stderr)
    tap.equal(result.returncode, 1)


@tap.test
def unexpected_skips_fail():
    result = count('--expected-skips', HERE / 'fewer-skips.txt', HERE / 'build')
    tap.equal(result.stdout.splitlines()[-1], '8 passed, 9 failed, 1 skipped', result.stdout)
    result = count('--allow-skips', HERE / 'build')
    tap.equal(result.stdout.splitlines()[-1], '8 passed, 7 failed, 3 skipped', result.stdout)


@tap.test
def no_result_is_a_failure():
    (HERE / 'empty').mkdir()
    result = count(HERE / 'empty')
    tap.equal((result.returncode, result.stdout.splitlines()[-1]), (1, '0 passed, 1 failed, 0 skipped'))


tap.main()
