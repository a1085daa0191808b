# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A test runner that speaks TAP, for tests written in Python.

    import tap

    @tap.test
    def one_thing():
        tap.equal(1 + 1, 2)

    tap.main()

An exception in a test fails it, and so does one in a callback that a C library called: PyGObject
prints those and goes on.
"""

import os
import sys
import traceback


class Skip(Exception):
    pass


_tests = []
_background = []


def test(function):
    _tests.append(function)
    return function


def skip(reason):
    raise Skip(reason)


def equal(got, wanted, what=''):
    if got != wanted:
        raise AssertionError(f'{what + ": " if what else ""}got {got!r}, wanted {wanted!r}')


def true(condition, what='condition'):
    if not condition:
        raise AssertionError(f'not true: {what}')


def raises(exception, function, *arguments, **keywords):
    """Calls the function and returns the exception it raised."""
    try:
        result = function(*arguments, **keywords)
    except exception as error:
        return error
    raise AssertionError(f'{function!r} returned {result!r} instead of raising {exception.__name__}')


def expect_background(text):
    """Of the exceptions in callbacks so far, there is one and it says @text; it fails no test then."""
    found = list(_background)
    _background.clear()
    if len(found) != 1 or text not in found[0]:
        raise AssertionError(f'wanted one exception saying {text!r} in a callback, got {found!r}')


def _hook(kind, value, trace):
    _background.append(''.join(traceback.format_exception(kind, value, trace)))


def _comment(text):
    for line in text.rstrip().splitlines():
        print(f'# {line}')


def source_root():
    return os.environ['IMAGO_SOURCE_ROOT']


def plain_environment():
    """For programs of others: a sanitizer's runtime that is preloaded for our code is nothing for them."""
    return {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}


def build_root():
    return os.environ['IMAGO_BUILD_ROOT']


def main():
    sys.excepthook = _hook
    sys.stdout.reconfigure(line_buffering=True)
    failures = 0
    print('TAP version 13')
    print(f'1..{len(_tests)}')
    for number, function in enumerate(_tests, 1):
        _background.clear()
        name = function.__name__.replace('_', '-')
        verdict, note = 'ok', ''
        try:
            function()
        except Skip as reason:
            note = f' # SKIP {reason}'
        except BaseException:
            verdict = 'not ok'
            _comment(traceback.format_exc())
        if _background:
            verdict, note = 'not ok', ''
            _comment('an exception in a callback:')
            _comment('\n'.join(_background))
        failures += verdict != 'ok'
        print(f'{verdict} {number} {name}{note}')
    sys.stdout.flush()
    sys.exit(1 if failures else 0)
