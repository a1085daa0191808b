#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages of the command: complete, and nothing for groff and mandoc to complain about."""

import json
import re
import subprocess

import tree
import tap

PAGES = tree.BUILD / 'doc' / 'man'
COMMANDS = json.loads((tree.BUILD / 'tools' / 'options.json').read_text())
IMAGO = tree.BUILD / 'tools' / 'imago'
NAMES = ['imago'] + ['imago-' + command['name'] for command in COMMANDS]


def source(name):
    return (PAGES / (name + '.1')).read_text()


def plain(name):
    """What a reader sees, without typography and line breaks."""
    text = source(name).replace('\\-', '-').replace('\\(aq', "'").replace('\\(dq', '"')
    return re.sub(r'\s+', ' ', re.sub(r'\\f[BIRP]|\\&', '', text))


@tap.test
def every_command_has_a_page():
    tap.equal(sorted(path.stem for path in PAGES.glob('*.1')), sorted(NAMES))
    main = plain('imago')
    for name in NAMES[1:]:
        tap.true(f'.BR {name} (1)' in main, f'imago(1) names {name}')


@tap.test
def pages_have_all_sections():
    for name in NAMES:
        sections = re.findall(r'^\.SH (.*)$', source(name), re.M)
        wanted = ['NAME', 'SYNOPSIS', 'DESCRIPTION', 'COMMANDS' if name == 'imago' else 'OPTIONS', 'EXIT STATUS', 'EXAMPLES',
                  'SEE ALSO']
        tap.equal([section for section in wanted if section not in sections], [], name)


@tap.test
def pages_describe_every_option():
    for command in COMMANDS:
        text = plain('imago-' + command['name'])
        for option in command['options']:
            if option['group'] == 'hidden' and option['supported']:
                continue
            for spelling in ['-' + option.get('letter', ''), '--' + option.get('name', '')]:
                if spelling.strip('-'):
                    tap.true(re.search(rf'\.TP (-\w, )?{re.escape(spelling)}[ =,]', text), f'{command["name"]} {spelling}')
            tap.true(option['help'][1:].replace('…', '...') in text, option['help'])


@tap.test
def examples_use_options_that_exist():
    tables = {command['name']: {spelling for option in command['options'] if option['supported']
                                for spelling in ('-' + option.get('letter', ''), '--' + option.get('name', ''))}
              for command in COMMANDS}
    for name in NAMES:
        blocks = re.findall(r'^\.EX\n(.*?)^\.EE$', source(name), re.M | re.S)
        lines = [line.replace('\\-', '-') for block in blocks for line in block.splitlines()]
        tap.true(lines, f'{name} has examples')
        for line in lines:
            program, command, *words = re.sub(r'"[^"]*"', 'quoted', line).split()
            tap.equal(program, 'imago', line)
            tap.true(name in ('imago', 'imago-' + command), line)
            for word in words:
                if word.startswith('-'):
                    tap.true(word.split('=')[0] in tables[command], f'{word} in {line}')


@tap.test
def commands_of_io_are_described():
    listed = subprocess.run([IMAGO, 'io', '-c', 'help'], capture_output=True, text=True, check=True).stdout
    names = re.findall(r'^(\w+).* -- ', listed, re.M)
    tap.true(len(names) > 10, listed)
    for name in names:
        tap.true(re.search(rf'^\.TP\n\.BI? {name}\b', source('imago-io'), re.M), name)


def complaints(*command):
    result = subprocess.run(command, capture_output=True, text=True, env=tap.plain_environment())
    # There is no date in them: they are the same whenever they are built.
    return [line for line in (result.stdout + result.stderr).splitlines() if 'missing date' not in line]


@tap.test
def groff_is_content():
    for name in NAMES:
        tap.equal(complaints('groff', '-man', '-ww', '-z', '-Tutf8', PAGES / (name + '.1')), [])


@tap.test
def mandoc_is_content():
    for name in NAMES:
        tap.equal(complaints('mandoc', '-T', 'lint', '-W', 'warning', PAGES / (name + '.1')), [])


tap.main()
