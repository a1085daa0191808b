#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the manual pages of the command: imago(1) and one for each subcommand.

usage: make-man.py OPTIONS.json VERSION TEXTS OUTPUT

OPTIONS.json is what `imago --dump-options` prints. TEXTS is the folder of the parts written by hand: for each
page a file NAME.man of roff. What it holds before its first .SH closes the description; the rest follows
the options. OUTPUT is where the pages go.
"""

import json
import pathlib
import sys

COPYRIGHT = '''.\\" SPDX-FileCopyrightText: The imago-glib authors
.\\" SPDX-License-Identifier: LGPL-2.1-or-later
'''

GROUPS = {
    'own': None,
    'opening': 'How images are opened',
    'output': 'What is printed',
    'accepted': 'Accepted, without a difference to the result',
}


def escape(text):
    """Text for roff: a hyphen that is to be typed must not become a typographic one."""
    for character, name in (('\\', '\\e'), ('-', '\\-'), ('…', '\\&...'), ("'", '\\(aq'), ('"', '\\(dq')):
        text = text.replace(character, name)
    return '\\&' + text if text.startswith('.') else text


def paragraph(text):
    return '\n.PP\n'.join(escape(line) for line in text.split('\n'))


def spelling(option):
    argument = option.get('argument')
    words = []
    if 'letter' in option:
        words.append('\\fB\\-%s\\fR' % escape(option['letter'])
                     + (' \\fI%s\\fR' % escape(argument) if argument and 'name' not in option else ''))
    if 'name' in option:
        words.append('\\fB\\-\\-%s\\fR' % escape(option['name']) + ('=\\fI%s\\fR' % escape(argument) if argument else ''))
    return ', '.join(words)


def sentence(text):
    """A line of the help as a sentence; a value that it begins with stays as it is typed."""
    begins_with_value = text.split()[0].endswith((':', ','))
    return escape(text if begins_with_value else text[0].upper() + text[1:]) + '.'


def describe(option):
    text = sentence(option['help'])
    choices = option.get('choices', [])
    if choices and option['argument'] != '|'.join(choices) and not all(choice in option['help'] for choice in choices):
        text += ' One of %s.' % ', '.join('\\fB%s\\fR' % escape(choice) for choice in choices)
    return text + (' Can be given more than once.' if option['repeatable'] else '')


def options(command):
    lines = ['.SH OPTIONS']
    for group, title in GROUPS.items():
        rows = [option for option in command['options'] if option['group'] == group and option['supported']]
        if rows and title:
            lines.append('.SS %s' % title)
        for option in rows:
            lines += ['.TP', spelling(option), describe(option)]
    lines += ['.SS Help', '.TP', '\\fB\\-h\\fR, \\fB\\-\\-help\\fR', 'Show a summary of the options.']
    refused = [option for option in command['options'] if not option['supported']]
    if refused:
        lines += ['.SS Not supported', 'QEMU has these; here they end in an error that says why.']
        for option in refused:
            lines += ['.TP', spelling(option), describe(option)]
    return lines


def see_also(names):
    return ['.SH SEE ALSO', ',\n'.join('.BR %s (1)' % escape(name) for name in names).replace(',\n', ' ,\n')]


def read_text(texts, name):
    """The part written by hand: what belongs to the description, and the sections."""
    lines = (texts / (name + '.man')).read_text(encoding='utf-8').splitlines()
    lines = [line for line in lines if not line.startswith('.\\" SPDX')]
    first = next(number for number, line in enumerate(lines) if line.startswith('.SH'))
    return lines[:first], lines[first:]


def start(name, version, summary):
    return [COPYRIGHT.rstrip(), '.TH %s 1 "" "imago\\-glib %s" "User Commands"' % (escape(name.upper()), version),
            '.SH NAME', '%s \\- %s' % (escape(name), escape(summary))]


def command_page(command, version, texts):
    name = 'imago-' + command['name']
    more, sections = read_text(texts, name)
    lines = start(name, version, command['summary'])
    lines += ['.SH SYNOPSIS', '.B imago %s' % command['name'], '.RI [ option \\&...]']
    if 'operands' in command:
        lines.append('.I %s' % escape(command['operands']))
    lines += ['.SH DESCRIPTION', paragraph(command['description'])]
    if 'notes' in command and 'exit status' not in command['notes']:
        lines += ['.PP', paragraph(command['notes'])]
    return lines + more + options(command) + sections + see_also(['imago', 'qemu-io' if name == 'imago-io' else 'qemu-img'])


def main_page(commands, version, texts):
    more, sections = read_text(texts, 'imago')
    lines = start('imago', version, 'read and write virtual machine disk images')
    lines += ['.SH SYNOPSIS', '.B imago', '.I command', '.RI [ option \\&...]', '.IR file \\&...',
              '.br', '.B imago \\-\\-help', '.br', '.B imago \\-\\-version', '.SH DESCRIPTION'] + more
    lines.append('.SH COMMANDS')
    for command in commands:
        lines += ['.TP', '.BR imago\\-%s (1)' % command['name'], sentence(command['summary'])]
    return lines + sections + see_also(['imago-' + command['name'] for command in commands] + ['qemu-img', 'qemu-io'])


def main():
    source, version, texts, output = sys.argv[1:]
    texts, output = pathlib.Path(texts), pathlib.Path(output)
    commands = json.loads(pathlib.Path(source).read_text(encoding='utf-8'))
    pages = {'imago': main_page(commands, version, texts)}
    for command in commands:
        pages['imago-' + command['name']] = command_page(command, version, texts)
    for name, lines in pages.items():
        (output / (name + '.1')).write_text('\n'.join(lines) + '\n', encoding='utf-8')


main()
