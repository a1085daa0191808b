# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The command in its languages, in locales made for the test: help, errors, plurals, and what stays English."""

import gettext
import os
import tempfile
import unicodedata

from imagotest import IMAGO, assert_fails, create, equal, good, imago, main, run, test

LOCALES = {'de': 'de_DE', 'zh_CN': 'zh_CN'}
FOLDER = tempfile.TemporaryDirectory(prefix='imago-locales-')
PLAIN = {'LD_PRELOAD': ''}
ENGLISH = {'LC_ALL': 'C'}


def locale(language):
    """The environment of somebody who speaks it. gettext does nothing in the locale C, so there must be a true one."""
    name = LOCALES[language] + '.UTF-8'
    path = os.path.join(FOLDER.name, name)
    if not os.path.exists(path):
        good('localedef', '--no-archive', '-i', LOCALES[language], '-f', 'UTF-8', path, env=PLAIN)
    return {'LC_ALL': name, 'LOCPATH': FOLDER.name, 'LANGUAGE': ''}


def translation(language):
    return gettext.translation('imago-glib-1.0', os.environ['IMAGO_TEST_LOCALEDIR'], [language])


def catalogue(language):
    return translation(language).gettext


def width(line):
    return sum(2 if unicodedata.east_asian_width(letter) in 'WF' else 1 for letter in line)


def each_language(function):
    for language in LOCALES:
        function(language, locale(language))


@test
def test_table():
    """every text of the table of options is translated when it is shown"""
    english = good(IMAGO, '--dump-options', env=ENGLISH).json()

    def compare(language, environment):
        translate = catalogue(language)
        texts = 0
        for one, other in zip(english, good(IMAGO, '--dump-options', env=environment).json(), strict=True):
            for key in ['operands', 'summary', 'description', 'notes']:
                if key in one:
                    equal(other[key], translate(one[key]))
                    texts += 1
            assert one['summary'] != other['summary'], other
            for option, translated in zip(one['options'], other['options'], strict=True):
                for key in ['argument', 'help']:
                    if key in option:
                        equal(translated[key], translate(option[key]))
                        texts += 1
                if 'help' in option:
                    assert option['help'] != translated['help'], translated
                for key in ['name', 'letter', 'choices', 'group', 'supported']:
                    equal(translated.get(key), option.get(key))
        assert texts > 300, texts

    each_language(compare)


@test
def test_help():
    """--help of the command and of each subcommand, within the width of a terminal"""
    commands = [command['name'] for command in good(IMAGO, '--dump-options', env=ENGLISH).json()]

    def look(language, environment):
        translate = catalogue(language)
        usage = translate('Usage: %s %s [OPTION…] %s\n')
        assert not usage.startswith('Usage'), usage
        for command in [None] + commands:
            text = good(IMAGO, *[command] if command else [], '--help', env=environment).out
            assert text.startswith(usage.split('%s')[0] + 'imago ' + (command or '')), text
            # The first line is as long as the names of the operands make it.
            for line in text.splitlines()[1:]:
                assert width(line) <= 80, (command, line)
        assert '\n%s:\n' % translate('How images are opened') in good(IMAGO, 'info', '--help', env=environment).out

    each_language(look)


@test
def test_errors():
    """errors of the command, of the library and of its core"""
    create('a.qcow2', '1M')
    with open('text', 'w', encoding='utf-8') as file:
        file.write('nothing')

    def provoke(language, environment):
        translate = catalogue(language)

        def fails(call, text, *values):
            translated = translate(text)
            assert translated != text, text
            assert_fails(imago(*call, env=environment), (translated % values).rstrip())

        fails(['info', 'nofile'], "Could not open '%s': %s", 'nofile', '')
        fails(['info', '--bogus', 'a.qcow2'], "unrecognized option '%s'", '--bogus')
        fails(['info', '--bogus', 'a.qcow2'], "Try '%s %s --help' for more information\n", 'imago', 'info')
        fails(['info', '-f', 'qcow2', 'text'], 'The file is not a qcow2 image')
        fails(['info', '--output=xml', 'a.qcow2'], '%s must be used with %s as argument.', '--output',
              'human%sjson' % translate(' or '))
        fails(['bogus'], 'Command not found: %s', 'bogus')

    each_language(provoke)


@test
def test_plurals():
    """one thing and several"""
    one, several = '%u internal snapshot is not copied', '%u internal snapshots are not copied'
    create('a.qcow2', '1M')
    for number in [1, 2]:
        good('qemu-img', 'snapshot', '-c', 's%d' % number, 'a.qcow2', env=PLAIN)
        for language in LOCALES:
            translated = translation(language).ngettext(one, several, number)
            assert translated not in (one, several), translated
            result = good(IMAGO, 'convert', '--dry-run', 'a.qcow2', 'out', env=locale(language))
            assert translated.replace('%u', str(number)) in result.out + result.err, result
    german = [translation('de').ngettext(one, several, number) for number in [0, 1, 2]]
    assert german[0] == german[2] != german[1], german


@test
def test_what_scripts_read():
    """progress, JSON, and what qemu-img prints are the same in every language"""
    create('base.raw', '1M', 'raw')
    create('a.qcow2', '2M', backing=('base.raw', 'raw'))
    good('qemu-img', 'snapshot', '-c', 's', 'a.qcow2', env=PLAIN)
    create('leaky.qcow2', '1M')
    good('qemu-io', '-c', 'write 0 128k', 'leaky.qcow2', env=PLAIN)
    with open('leaky.qcow2', 'r+b') as file:
        # The L1 table is lost, and with it the use of all that it led to.
        file.seek(40)
        position = int.from_bytes(file.read(8), 'big')
        file.seek(position)
        file.write(bytes(8))
    calls = [('info', 'a.qcow2'), ('info', '--output=json', 'a.qcow2'), ('map', 'a.qcow2'), ('map', '--output=json', 'a.qcow2'),
             ('measure', '-O', 'qcow2', 'a.qcow2'), ('snapshot', '-l', 'a.qcow2'), ('check', 'a.qcow2'), ('check', 'leaky.qcow2'),
             ('check', '--output=json', 'leaky.qcow2'), ('compare', 'a.qcow2', 'a.qcow2'), ('compare', 'a.qcow2', 'base.raw'),
             ('convert', '-p', '-O', 'raw', 'a.qcow2', 'out.raw'), ('io', '-c', 'read 0 64k', '-c', 'map', 'a.qcow2')]

    def plain(result):
        """Without how long it took."""
        lines = [line for line in result.out.splitlines() if ' ops; ' not in line]
        return result.status, lines, result.err

    english = [plain(run(IMAGO, *call, env=ENGLISH)) for call in calls]
    assert any('Leaked cluster' in text for _, _, text in english), english
    assert any('(100.00/100%)' in line for _, lines, _ in english for line in lines), english
    for language in LOCALES:
        for call, wanted in zip(calls, english, strict=True):
            equal(plain(run(IMAGO, *call, env=locale(language))), wanted, '%s %s' % (language, ' '.join(call)))


@test
def test_names_of_qemu():
    """under the names qemu-img and qemu-io it speaks English, as those do"""
    for name in ['qemu-img', 'qemu-io']:
        os.symlink(IMAGO, name)
    for language in LOCALES:
        environment = locale(language)
        assert good('./qemu-img', 'info', '--help', env=environment).out.startswith('Usage: qemu-img info ')
        assert_fails(run('./qemu-img', 'info', 'nofile', env=environment), "Could not open 'nofile'")
        assert good('./qemu-io', '--help', env=environment).out.startswith('Usage: qemu-io ')


if __name__ == '__main__':
    main()
