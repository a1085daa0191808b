#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The translations: every message of the source is there, none is doubtful, none is left over."""

import gettext
import pathlib
import re
import subprocess
import tempfile

import tree
import tap

PO = tree.ROOT / 'po'
LANGUAGES = [line for line in (PO / 'LINGUAS').read_text().split('\n') if line and not line.startswith('#')]
FOLDER = tempfile.TemporaryDirectory(prefix='imago-translations-')
TEMPLATE = pathlib.Path(FOLDER.name) / 'imago-glib.pot'

# What the build gives xgettext: the keywords of GLib.
KEYWORDS = ['_', 'N_', 'C_:1c,2', 'NC_:1c,2', 'g_dcgettext:2', 'g_dngettext:2,3', 'g_dpgettext2:2c,3']


def run(*command):
    result = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, env=tap.plain_environment())
    tap.equal(result.returncode, 0, result.stderr)
    return result.stderr


def count(path):
    """How many messages there are, translated or not."""
    found = run('msgfmt', '--statistics', '-o', '/dev/null', path)
    return sum(int(number) for number in re.findall(r'(\d+) ', found))


def catalogue(language):
    binary = pathlib.Path(FOLDER.name) / f'{language}.mo'
    run('msgfmt', '-o', binary, PO / f'{language}.po')
    with binary.open('rb') as file:
        return gettext.GNUTranslations(file)


def messages():
    """The English texts without plural, as they are at run time."""
    for block in TEMPLATE.read_text(encoding='utf-8').split('\n\n')[1:]:
        found = re.search(r'^msgid ((?:".*"\n)+)msgstr', block, re.M)
        if found:
            quoted = ''.join(re.findall(r'^"(.*)"$', found.group(1), re.M))
            yield re.sub(r'\\(.)', lambda match: {'n': '\n', 't': '\t'}.get(match.group(1), match.group(1)), quoted)


listed = [line for line in (PO / 'POTFILES').read_text().split('\n') if line and not line.startswith('#')]
run('xgettext', '--from-code=UTF-8', '-o', TEMPLATE, *(f'--keyword={keyword}' for keyword in KEYWORDS), *listed)


@tap.test
def languages():
    tap.true({'de', 'zh_CN'} <= set(LANGUAGES), LANGUAGES)


@tap.test
def complete():
    wanted = count(TEMPLATE)
    tap.true(wanted > 600, f'{wanted} messages')
    for language in LANGUAGES:
        path = PO / f'{language}.po'
        run('msgcmp', path, TEMPLATE)
        found = run('msgfmt', '--check', '--statistics', '-o', '/dev/null', path)
        tap.equal(found.strip(), f'{wanted} translated messages.', language)
        tap.true('\n#~' not in path.read_text(encoding='utf-8'), f'nothing is left over in {language}')


@tap.test
def sound():
    """What scripts and people rely on survives translation: options to type, and how a message ends."""
    problems = []
    for language in LANGUAGES:
        translate = catalogue(language).gettext
        for text in messages():
            translated = translate(text)
            for word in re.findall(r'(?<![\w-])--?[a-z][a-z-]*', text):
                if word not in translated:
                    problems.append(f'{language}: {word} is lost in {translated!r}')
            if text.rstrip(' ').endswith(':') != translated.rstrip(' ').endswith((':', '：')):
                problems.append(f'{language}: another colon at the end of {translated!r}')
            if text.rstrip('\n')[-1:] != '.' and translated.rstrip('\n')[-1:] in ('.', '。'):
                problems.append(f'{language}: a period at the end of {translated!r}')
    tree.report(problems)


tap.main()
