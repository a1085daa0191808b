#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the completions of the shells from what the command says of its options.

usage: make-completions.py OPTIONS.json FORMATS.json BASH ZSH FISH

OPTIONS.json is what `imago --dump-options` prints, FORMATS.json what `imago formats --output=json` does.
"""

import json
import pathlib
import sys

HEADER = '''\
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
'''

# What the table does not list, because the command hands it on as text.
PREALLOCATION = ['off', 'metadata', 'falloc', 'full']
SWITCH = ['on', 'off']
# Of -o: each name and its values, if there are but a few.
LIST_VALUES = {
    'backing_file': [],
    'backing_fmt': None,  # the formats
    'cluster_size': [],
    'compat': ['0.10', '1.1', 'v2', 'v3'],
    'compression_type': ['zlib', 'zstd'],
    'data_file': [],
    'data_file_raw': SWITCH,
    'extended_l2': SWITCH,
    'extent_size_hint': [],
    'lazy_refcounts': SWITCH,
    'nocow': SWITCH,
    'preallocation': PREALLOCATION,
    'refcount_bits': ['1', '2', '4', '8', '16', '32', '64'],
    'size': [],
}
DD_OPERANDS = ['bs=', 'count=', 'skip=', 'if=', 'of=']


class Option:
    def __init__(self, row, formats, cache_modes):
        self.letter = row.get('letter')
        self.name = row.get('name')
        self.help = row['help']
        self.argument = row.get('argument')
        self.repeatable = row['repeatable']
        self.values = self._values(row, formats, cache_modes)
        self.takes_file = self.argument == 'FILE'
        self.takes_list = self.name == 'options' and self.argument == 'LIST'

    def _values(self, row, formats, cache_modes):
        if 'choices' in row:
            return row['choices']
        if self.argument is None:
            return []
        if '|' in self.argument:
            return self.argument.split('|')
        if self.argument == 'FORMAT':
            return formats
        if self.name in ('cache', 'source-cache'):
            return cache_modes
        return PREALLOCATION if self.name == 'preallocation' else []

    @property
    def spellings(self):
        return (['-' + self.letter] if self.letter else []) + (['--' + self.name] if self.name else [])


class Command:
    def __init__(self, row, formats, cache_modes):
        self.name = row['name']
        self.summary = row['summary']
        self.options = [Option(option, formats, cache_modes) for option in row['options']
                        if option['supported'] and option['group'] != 'hidden']
        self.operands = DD_OPERANDS if self.name == 'dd' else []
        self.takes_files = 'FILE' in row.get('operands', '') or 'TARGET' in row.get('operands', '')


def load(options, formats):
    rows = json.loads(pathlib.Path(options).read_text(encoding='utf-8'))
    names = [format['name'] for format in json.loads(pathlib.Path(formats).read_text(encoding='utf-8'))]
    cache_modes = next(option['choices'] for command in rows if command['name'] == 'io'
                       for option in command['options'] if option.get('name') == 'cache')
    LIST_VALUES['backing_fmt'] = names
    return [Command(row, names, cache_modes) for row in rows]


# ---- bash ----

BASH_START = r'''
# What -o takes: names with values, and commas between. Bash splits at each sign: put together it is $1, and what is
# left of it in the word to complete stands behind the last sign.
_imago_list ()
{
  local part=${1##*,} before='' names values=''

  names='@NAMES@'
  case $part in
@LIST_VALUES@    *=*)
      return
      ;;
  esac
  compopt -o nospace 2>/dev/null
  if [ -n "$values" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "${part#*=}")
  else
    [ "${word/,/}" = "$word" ] || before=${word%,*},
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$names" -- "$part")
  fi
}

# Bash splits "--name=value" at the sign, and hands over three words.
_imago ()
{
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  local options='' operands='' values='' takes_file=no takes_list=no
  local at=$COMP_CWORD list=$word

  COMPREPLY=()
  while [ "$at" -gt 2 ] && { [ "${COMP_WORDS[at]}" = = ] || [ "${COMP_WORDS[at-1]}" = = ]; }; do
    at=$((at - 1))
    list=${COMP_WORDS[at]}$list
  done
  if [ "$word" = = ]; then
    word=''
  elif [ "$before" = = ] && [ "$COMP_CWORD" -ge 2 ]; then
    before=${COMP_WORDS[COMP_CWORD-2]}
  fi

  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '@COMMANDS@ --help --version' -- "$word")
    return
  fi

  case $list in
    --options=*)
      list=${list#--options=}
      before=--options
      ;;
    *=*)
      case ${COMP_WORDS[at-1]} in
        -o|--options)
          before=-o
          ;;
      esac
      ;;
  esac

  case ${COMP_WORDS[1]} in
'''

BASH_END = r'''    *)
      return
      ;;
  esac

  if [ $takes_list = yes ]; then
    _imago_list "$list"
  elif [ -n "$values" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
  elif [ $takes_file = yes ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  elif [ $takes_file = value ]; then
    return
  elif [ "${word:0:1}" = - ]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
  elif [ -n "$operands" ]; then
    compopt -o nospace 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -W "$operands" -- "$word")
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}

complete -F _imago imago
'''


def bash_value(option):
    if option.takes_list:
        return 'takes_list=yes'
    if option.values:
        return "values='%s'" % ' '.join(option.values)
    return 'takes_file=%s' % ('yes' if option.takes_file else 'value')


def bash(commands):
    cases = ''.join("    %s=*)\n      values='%s'\n      ;;\n" % (name, ' '.join(values))
                    for name, values in LIST_VALUES.items() if values)
    lines = [HEADER, BASH_START.replace('@COMMANDS@', ' '.join(command.name for command in commands))
             .replace('@NAMES@', ' '.join(name + '=' for name in LIST_VALUES)).replace('@LIST_VALUES@', cases)]
    for command in commands:
        spellings = [name for option in command.options for name in option.spellings]
        lines.append("    %s)\n      options='%s'\n" % (command.name, ' '.join(spellings + ['-h', '--help'])))
        if command.operands:
            lines.append("      operands='%s'\n" % ' '.join(command.operands))
            lines.append('      case $before in\n        if|of)\n          takes_file=yes\n          ;;\n      esac\n')
        lines.append('      case $before in\n')
        for option in command.options:
            if option.argument is not None:
                lines.append('        %s)\n          %s\n          ;;\n' % ('|'.join(option.spellings), bash_value(option)))
        lines.append('      esac\n      ;;\n')
    lines.append(BASH_END)
    return ''.join(lines)


# ---- zsh ----

def zsh_text(text):
    """For a part of a specification of _arguments, in single quotes."""
    for character in '\\:[]':
        text = text.replace(character, '\\' + character)
    return text.replace("'", "'\\''")


def zsh_value(option):
    if option.argument is None:
        return ''
    if option.takes_list:
        action = '_imago_list'
    elif option.values:
        action = '(%s)' % ' '.join(option.values)
    else:
        action = '_files' if option.takes_file else ' '
    return ':%s:%s' % (zsh_text(option.argument), action)


def zsh_specs(command):
    for option in command.options:
        both = option.spellings
        others = '*' if option.repeatable else '(%s)' % ' '.join(both)
        for name in both:
            if option.argument is None:
                sign = ''
            else:
                sign = '=' if name.startswith('--') else '+'
            yield "'%s'%s%s'[%s]%s'" % (others, name, sign, zsh_text(option.help), zsh_value(option))
    yield "'(- *)'{-h,--help}'[show help]'"
    if command.operands:
        yield "'*: :_imago_dd'"
    elif command.takes_files:
        yield "'*:file:_files'"


def zsh(commands):
    lines = ['#compdef imago\n', HEADER, '\n_imago_dd ()\n{\n  if compset -P "[io]f="; then\n    _files\n  else\n',
             '    compadd -S "" -- %s\n  fi\n}\n' % ' '.join(DD_OPERANDS),
             "\n_imago_list ()\n{\n  _values -s , 'option of the image'",
             *(" \\\n    '%s:%s:%s'" % (name, name, '(%s)' % ' '.join(values) if values else ' ')
               for name, values in LIST_VALUES.items()), '\n}\n',
             '\n_imago ()\n{\n  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n\n  commands=(\n']
    lines += ["    '%s:%s'\n" % (command.name, zsh_text(command.summary)) for command in commands]
    lines.append('  )\n\n')
    lines.append("  _arguments -C '(- *)'{-h,--help}'[show help]' '(- *)'{-V,--version}'[show the version]' \\\n"
                 "    '(-): :->command' '(-)*:: :->rest'\n\n"
                 "  case $state in\n    command)\n      _describe -t commands 'imago command' commands\n      ;;\n"
                 '    rest)\n      case $words[1] in\n')
    for command in commands:
        lines.append('        %s)\n          _arguments -s -S' % command.name)
        lines += [' \\\n            %s' % spec for spec in zsh_specs(command)]
        lines.append('\n          ;;\n')
    lines.append('      esac\n      ;;\n  esac\n}\n\n_imago "$@"\n')
    return ''.join(lines)


# ---- fish ----

FISH_LIST = r'''
# What -o takes: names with values, and commas between.
function __imago_list
  set -l list (string replace -r -- '^--options=' '' (commandline -ct))
  set -l before (string replace -r -- '[^,]*$' '' $list)
  if string match -q -- '*=*' (string replace -r -- '.*,' '' $list)
    printf '%s\n' "$before"(string split ' ' -- '@PAIRS@')
  else
    printf '%s\n' "$before"(string split ' ' -- '@NAMES@')
  end
end

'''


def fish_text(text):
    return "'%s'" % text.replace('\\', '\\\\').replace("'", "\\'")


def fish_option(command, option):
    words = ['complete -c imago -n', fish_text('__fish_seen_subcommand_from ' + command.name)]
    if option.letter:
        words.append('-s ' + option.letter)
    if option.name:
        words.append('-l ' + option.name)
    if option.values:
        words.append('-x -a ' + fish_text(' '.join(option.values)))
    elif option.takes_list:
        words.append("-x -a '(__imago_list)'")
    elif option.takes_file:
        words.append('-r -F')
    elif option.argument is not None:
        words.append('-x')
    return ' '.join(words + ['-d', fish_text(option.help)]) + '\n'


def fish(commands):
    lines = [HEADER, FISH_LIST.replace('@NAMES@', ' '.join(name + '=' for name in LIST_VALUES)).replace(
                 '@PAIRS@', ' '.join('%s=%s' % (name, value) for name, values in LIST_VALUES.items() for value in values)),
             'complete -c imago -f -n __fish_use_subcommand -s h -l help -d "show help"\n',
             'complete -c imago -f -n __fish_use_subcommand -s V -l version -d "show the version"\n']
    lines += ['complete -c imago -f -n __fish_use_subcommand -a %s -d %s\n' % (command.name, fish_text(command.summary))
              for command in commands]
    for command in commands:
        lines.append('\n')
        lines += [fish_option(command, option) for option in command.options]
        lines.append('complete -c imago -n %s -s h -l help -d "show help"\n'
                     % fish_text('__fish_seen_subcommand_from ' + command.name))
        if command.operands:
            lines.append('complete -c imago -n %s -a %s\n' % (fish_text('__fish_seen_subcommand_from ' + command.name),
                                                             fish_text(' '.join(command.operands))))
    return ''.join(lines)


def main():
    options, formats, *outputs = sys.argv[1:]
    commands = load(options, formats)
    for make, path in zip((bash, zsh, fish), outputs, strict=True):
        pathlib.Path(path).write_text(make(commands), encoding='utf-8')


main()
