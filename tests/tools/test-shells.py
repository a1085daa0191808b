# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The completions, driven in the shells themselves."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import time

from imagotest import IMAGO, Skip, equal, good, main, test

FOLDER = os.path.join(os.environ['IMAGO_BUILD_ROOT'], 'tools', 'completions')
BASH = os.path.join(FOLDER, 'imago')
ZSH = os.path.join(FOLDER, '_imago')
FISH = os.path.join(FOLDER, 'imago.fish')

# A sanitizer's runtime that is preloaded for the command is nothing for shells.
PLAIN = {'LD_PRELOAD': '', 'HOME': '/nonexistent'}

with open(os.path.join(os.environ['IMAGO_BUILD_ROOT'], 'tools', 'options.json'), encoding='utf-8') as file:
    COMMANDS = json.load(file)


def shown(command):
    """The spellings that completion offers."""
    return sorted({spelling for option in command['options'] if option['supported'] and option['group'] != 'hidden'
                   for spelling in ('-' + option.get('letter', ''), '--' + option.get('name', '')) if spelling.strip('-')}
                  | {'-h', '--help'})


def image_options():
    """What the command itself says that -o takes."""
    lines = good(IMAGO, 'create', '-f', 'qcow2', '-o', 'help').out.splitlines()
    return sorted(line.split('=')[0].strip() for line in lines if '=<' in line)


def need(shell):
    if shutil.which(shell) is None:
        raise Skip('%s is not installed' % shell)


# ---- bash ----

def bash(*lines):
    """What is offered at the end of each line of words."""
    script = ['source %s' % shlex.quote(BASH)]
    for words in lines:
        script += ['COMP_WORDS=(%s)' % ' '.join(shlex.quote(word) for word in words), 'COMP_CWORD=%d' % (len(words) - 1),
                   '_imago', 'echo "${COMPREPLY[*]}"']
    out = good('bash', '--norc', '-u', '-c', '\n'.join(script), env=PLAIN)
    equal(out.err, '')
    found = [line.split() for line in out.out.split('\n')[:-1]]
    equal(len(found), len(lines))
    return found


@test
def test_bash():
    """bash: commands, options, values and files"""
    for name in ['disk.qcow2', 'disk.raw', 'other']:
        open(name, 'w').close()
    commands, one, value, after_sign, partly, short, bar, files, number, operand, input_file = bash(
        ['imago', ''], ['imago', 'conv'], ['imago', 'info', '--output', ''], ['imago', 'info', '--output', '='],
        ['imago', 'info', '--output', '=', 'js'], ['imago', 'convert', '-O', 'q'], ['imago', 'check', '-r', ''],
        ['imago', 'info', 'disk'], ['imago', 'bench', '-c', ''], ['imago', 'dd', 'b'], ['imago', 'dd', 'if', '=', 'disk.r'])
    equal(sorted(commands), sorted([command['name'] for command in COMMANDS] + ['--help', '--version']))
    equal(one, ['convert'])
    equal(value, ['human', 'json'])
    equal(after_sign, value)
    equal(partly, ['json'])
    equal(short, ['qcow2'])
    equal(bar, ['leaks', 'all'])
    equal(sorted(files), ['disk.qcow2', 'disk.raw'])
    equal(number, [])
    equal(operand, ['bs='])
    equal(input_file, ['disk.raw'])


@test
def test_bash_options():
    """bash: every option of every command"""
    found = bash(*(['imago', command['name'], '-'] for command in COMMANDS))
    for command, options in zip(COMMANDS, found, strict=True):
        equal(sorted(options), shown(command), command['name'])


@test
def test_bash_lists():
    """bash: the names and values of -o, also behind a comma"""
    names, partly, value, part, second, long, long_value, behind, free = bash(
        ['imago', 'create', '-o', ''], ['imago', 'create', '-o', 'comp'], ['imago', 'convert', '-o', 'compat', '='],
        ['imago', 'convert', '-o', 'preallocation', '=', 'f'], ['imago', 'measure', '-o', 'compat', '=', '1.1,pre'],
        ['imago', 'create', '--options', '=', 'comp'], ['imago', 'create', '--options', '=', 'compression_type', '=', 'zs'],
        ['imago', 'create', '-o', 'compat', '=', '1.1,extended_l2', '=', 'of'], ['imago', 'create', '-o', 'cluster_size', '=', '4'])
    equal(sorted(name.rstrip('=') for name in names), image_options())
    equal(partly, ['compat=', 'compression_type='])
    equal(value, ['0.10', '1.1', 'v2', 'v3'])
    equal(part, ['falloc', 'full'])
    equal(second, ['1.1,preallocation='])
    equal(long, ['compat=', 'compression_type='])
    equal(long_value, ['zstd'])
    equal(behind, ['off'])
    equal(free, [])


# ---- zsh ----

class Zsh:
    """An interactive zsh on a terminal: completion works nowhere else."""

    START = r'''
autoload -Uz compinit; compinit -u -D
zstyle ':completion:*' list-prompt ''; setopt no_list_ambiguous no_beep; unsetopt prompt_cr prompt_sp
keep () { print -r -- "$BUFFER" >>buffers; BUFFER=; }
zle -N keep; bindkey -e; bindkey '^X^K' keep
print ready >>buffers
'''

    def __init__(self):
        environment = dict(os.environ, **PLAIN, TERM='dumb', PS1='', ZDOTDIR=os.getcwd())
        self.count = 0
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe('zsh', ['zsh', '-f', '-i'], environment)
        with open('start', 'w', encoding='utf-8') as script:
            script.write('fpath=(%s $fpath)\n' % shlex.quote(FOLDER) + self.START)
        equal(self._type('source ./start\n'), 'ready')

    def _type(self, text):
        """The next line that appears in the file."""
        os.write(self.terminal, text.encode())
        self.count += 1
        printed = b''
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 0.02)[0]:
                printed += os.read(self.terminal, 65536)
            if os.path.exists('buffers'):
                with open('buffers', encoding='utf-8') as lines:
                    found = lines.read().split('\n')
                if len(found) > self.count:
                    return found[self.count - 1]
        raise AssertionError('zsh does not answer to %r: %r' % (text, printed))

    def complete(self, text):
        return self._type(text + '\t\x18\x0b').rstrip()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@test
def test_zsh():
    """zsh: commands, options, values and files"""
    need('zsh')
    equal(good('zsh', '-f', '-n', ZSH, env=PLAIN).err, '')
    open('disk.qcow2', 'w').close()
    zsh = Zsh()
    try:
        for typed, completed in [('imago conv', 'imago convert'), ('imago convert --salv', 'imago convert --salvage'),
                                 ('imago convert -O qc', 'imago convert -O qcow2'), ('imago check -r le', 'imago check -r leaks'),
                                 ('imago info --output=j', 'imago info --output=json'), ('imago info dis', 'imago info disk.qcow2'),
                                 ('imago convert -c --backing-f', 'imago convert -c --backing-format='),
                                 ('imago dd if=dis', 'imago dd if=disk.qcow2'), ('imago dd cou', 'imago dd count='),
                                 ('imago create -o cl', 'imago create -o cluster_size='),
                                 ('imago create -o preallocation=fu', 'imago create -o preallocation=full,'),
                                 ('imago measure -o compat=1.1,pre', 'imago measure -o compat=1.1,preallocation='),
                                 ('imago convert --options=size=1,compression_type=zs',
                                  'imago convert --options=size=1,compression_type=zstd,')]:
            equal(zsh.complete(typed), completed)
        # Each option that is no beginning of another one.
        for command in COMMANDS:
            names = [name for name in shown(command) if name.startswith('--')]
            for option in names:
                if not any(name.startswith(option[:-1]) for name in names if name != option):
                    equal(zsh.complete('imago %s %s' % (command['name'], option[:-1])).rstrip('='),
                          'imago %s %s' % (command['name'], option))
    finally:
        zsh.close()


# ---- fish ----

def fish(*lines):
    script = 'source %s\n' % shlex.quote(FISH) + ''.join("complete -C '%s'; echo @\n" % line for line in lines)
    result = subprocess.run(['fish', '--no-config', '--private', '-c', script], capture_output=True, text=True, timeout=60,
                            env=dict(os.environ, **dict(PLAIN, HOME=os.getcwd(), XDG_DATA_DIRS=os.getcwd())))
    equal((result.returncode, result.stderr), (0, ''))
    blocks = re.split(r'^@\n', result.stdout, flags=re.M)
    return [sorted({line.split('\t')[0] for line in block.splitlines()}) for block in blocks[:len(lines)]]


@test
def test_fish():
    """fish: commands, options, values and files"""
    need('fish')
    equal(good('fish', '--no-execute', FISH, env=PLAIN).err, '')
    for name in ['disk.qcow2', 'disk.raw']:
        open(name, 'w').close()
    commands, one, option, value, separate, files, number = fish(
        'imago ', 'imago conv', 'imago convert --salv', 'imago info --output=', 'imago check -r ', 'imago info disk',
        'imago bench -c ')
    equal(commands, sorted(command['name'] for command in COMMANDS))
    equal(one, ['convert'])
    equal(option, ['--salvage'])
    equal(value, ['--output=human', '--output=json'])
    equal(separate, ['all', 'leaks'])
    equal(files, ['disk.qcow2', 'disk.raw'])
    equal(number, [])


@test
def test_fish_lists():
    """fish: the names and values of -o, also behind a comma"""
    need('fish')
    names, partly, value, second, long = fish(
        'imago create -o ', 'imago create -o comp', 'imago convert -o compat=', 'imago measure -o compat=1.1,pre',
        'imago create --options=size=1,compression_type=zs')
    equal([name.rstrip('=') for name in names], image_options())
    equal(partly, ['compat=', 'compression_type='])
    equal(value, ['compat=0.10', 'compat=1.1', 'compat=v2', 'compat=v3'])
    equal(second, ['compat=1.1,preallocation='])
    equal(long, ['--options=size=1,compression_type=zstd'])


@test
def test_fish_options():
    """fish: every long option of every command"""
    need('fish')
    found = fish(*('imago %s --' % command['name'] for command in COMMANDS))
    for command, options in zip(COMMANDS, found, strict=True):
        equal([name.rstrip('=') for name in options], [name for name in shown(command) if name.startswith('--')], command['name'])


if __name__ == '__main__':
    main()
