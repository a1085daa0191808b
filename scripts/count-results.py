#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts what a run of "meson test" really did, and prints "N passed, N failed, N skipped".

usage: count-results.py [--expected-skips FILE] [--allow-skips] BUILD-FOLDER[:LOG]...

Each BUILD-FOLDER is one in which "meson test" was run; LOG is the base name of one of its logs (default: all). Subtests come from testlog*.junit.xml. A program that
crashed, timed out, or printed no result at all counts as one failed test of its own, whatever its
subtests said: meson's JUnit file does not show that, so testlog*.json is read too.

--expected-skips lists what may be skipped; any other skip is a failure.
"""

import argparse
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

GOOD = {'OK', 'EXPECTEDFAIL', 'SKIP'}


def read_expected(path):
    """Lines of "REGEX  # reason"; the expression must match "BUILD-FOLDER'S NAME: program / subtest" as a whole."""
    expected = []
    for line in path.read_text().splitlines():
        pattern, _, reason = line.partition('  # ')
        if pattern.strip() and not pattern.startswith('#'):
            if not reason.strip():
                sys.exit(f'{path}: no reason given for {pattern}')
            expected.append(re.compile(pattern.strip()))
    return expected


def read_folder(folder, log):
    """Yields (program, subtest, verdict, reason)."""
    documents = sorted((folder / 'meson-logs').glob(f'{log or "testlog*"}.junit.xml'))
    if not documents:
        yield str(folder), '', 'failed', 'meson test left no result'
    for document in documents:
        lines = document.with_suffix('').with_suffix('.json').read_text().splitlines()
        programs = [json.loads(line) for line in lines]
        suites = {}
        for suite in ElementTree.parse(document).getroot().iter('testsuite'):
            for case in suite.iter('testcase'):
                # A program without subtests is a case of the project's own suite.
                plain = suite.get('name') == case.get('classname') and '.' not in suite.get('name')
                program = case.get('name') if plain else suite.get('name').partition('.')[2]
                suites.setdefault(program, []).append((None if plain else case.get('name'), case))
        for program in programs:
            yield from read_program(program, suites.get(program['name'], []))


def last_words(program):
    """What a program wrote before it died: the table is often all that is kept of a run."""
    lines = (program.get('stderr') or program.get('stdout') or '').strip().splitlines()
    return ''.join(f' | {line}' for line in lines[-6:])[-800:]


def read_program(program, cases):
    name = program['name']
    subtests = [(subtest, case) for subtest, case in cases if subtest is not None]
    bad = False
    for subtest, case in subtests:
        note = case.findtext('system-out') or ''
        if case.find('failure') is not None or case.find('error') is not None:
            bad = True
            yield name, subtest, 'failed', note
        elif case.find('skipped') is not None:
            yield name, subtest, 'skipped', note
        else:
            yield name, subtest, 'passed', ''

    result = program['result']
    if result not in GOOD:
        if not bad or result in {'TIMEOUT', 'INTERRUPT'} or (program['returncode'] or 0) < 0:
            yield name, '', 'failed', f'{result}, exit status {program["returncode"]}{last_words(program)}'
    elif not subtests:
        if result == 'SKIP' and program['returncode'] == 77:
            output = (program.get('stdout') or '').strip().splitlines()
            yield name, '', 'skipped', output[-1] if output else ''
        elif result == 'SKIP':
            reason = re.search(r'^1\.\.0 *# *skip *(.*)$', program.get('stdout') or '', re.I | re.M)
            if reason:
                yield name, '', 'skipped', reason.group(1)
            else:
                yield name, '', 'failed', 'printed no result'
        else:
            yield name, '', 'passed', ''


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--expected-skips', type=pathlib.Path)
    parser.add_argument('--allow-skips', action='store_true')
    parser.add_argument('folders', nargs='+')
    arguments = parser.parse_args()
    expected = read_expected(arguments.expected_skips) if arguments.expected_skips else []

    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    rows = {'failed': [], 'skipped': []}
    for argument in arguments.folders:
        path, _, log = argument.partition(':')
        folder = pathlib.Path(path)
        for program, subtest, verdict, reason in read_folder(folder, log):
            name = f'{folder.name}: {program} / {subtest}' if subtest else f'{folder.name}: {program}'
            if verdict == 'skipped' and not arguments.allow_skips \
                    and not any(pattern.fullmatch(name) for pattern in expected):
                verdict = 'failed'
                reason = f'skipped, but not in the list of expected skips: {reason}'
            counts[verdict] += 1
            if verdict != 'passed':
                rows[verdict].append((name, ' '.join(reason.split()) or 'no reason given'))

    for verdict in ('skipped', 'failed'):
        if rows[verdict]:
            print(f'\n{verdict}:')
            width = min(70, max(len(name) for name, _ in rows[verdict]))
            for name, reason in rows[verdict]:
                print(f'  {name:{width}}  {reason}')
    if not sum(counts.values()):
        counts['failed'] = 1
        print('\nno test was run')
    print(f'\n{counts["passed"]} passed, {counts["failed"]} failed, {counts["skipped"]} skipped')
    return 1 if counts['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
