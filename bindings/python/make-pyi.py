#!/usr/bin/env python3
# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes Imago.pyi, the types of the API as Python sees it, from the GIR. usage: make-pyi.py Imago-1.0.gir

What the overrides add stands in this file, beside the classes to which they add it.
"""

import keyword
import sys
import xml.etree.ElementTree as ElementTree

CORE = '{http://www.gtk.org/introspection/core/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'

PLAIN = {
    'none': 'None', 'gboolean': 'bool', 'utf8': 'str', 'filename': 'str', 'gdouble': 'float', 'gfloat': 'float',
    'gpointer': 'object', 'GType': 'GObject.GType', 'GLib.Quark': 'int', 'gunichar': 'str',
}
INTEGERS = {'gint', 'guint', 'gint8', 'guint8', 'gint16', 'guint16', 'gint32', 'guint32', 'gint64', 'guint64', 'gsize',
            'gssize', 'glong', 'gulong', 'gchar', 'guchar', 'int'}

# What may be given where the API asks for these.
GENEROUS = {'Gio.File': '_File', 'GLib.Bytes': '_Buffer'}

HEAD = '''# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Made from the GIR by make-pyi.py; do not edit.

import asyncio
import os
from typing import Any, Awaitable, Callable, Coroutine, Iterator, List, Optional, Sequence, Tuple, TypeVar, Union, overload

from _typeshed import ReadableBuffer, WriteableBuffer
from gi.repository import Gio, GLib, GObject

_T = TypeVar('_T')
_File = Union[Gio.File, str, 'os.PathLike[str]']
_Buffer = Union[GLib.Bytes, ReadableBuffer]

'''

OVERRIDES = {
    'Image': '''
    def __enter__(self) -> Image: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Image: ...
    async def __aexit__(self, *_: object) -> None: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    @overload
    def __setitem__(self, key: int, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: _Buffer) -> None: ...
    def readinto(self, offset: int, buffer: WriteableBuffer, cancellable: Optional[Gio.Cancellable] = None) -> int: ...
    def extents(self, offset: int = 0, length: Optional[int] = None, flags: MapFlags = ...,
                cancellable: Optional[Gio.Cancellable] = None) -> Iterator[Extent]: ...
''',
    'ExtentArray': '''
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Extent: ...
    def __iter__(self) -> Iterator[Extent]: ...
''',
}

# The keywords that stand for the properties of each class of options.
OPTIONS = {}

TAIL = '''
class EventLoop(asyncio.SelectorEventLoop):
    context: GLib.MainContext
    def __init__(self, context: Optional[GLib.MainContext] = None) -> None: ...


def run(main: Coroutine[Any, Any, _T], *, debug: Optional[bool] = None) -> _T: ...


class ImageError(GLib.Error):
    CODE: Error
    def __init__(self, message: str = ..., domain: str = ..., code: Optional[int] = None) -> None: ...
'''


def type_of(node, given=False):
    """The Python type of a parameter, return value, property or array."""
    array = node.find(f'{CORE}array')
    if array is not None:
        inner = type_of(array)
        return 'bytes' if inner == 'int' and array.find(f'{CORE}type').get('name') == 'guint8' else (
            f'Sequence[{inner}]' if given else f'List[{inner}]')
    name = node.find(f'{CORE}type').get('name')
    if name in PLAIN:
        return PLAIN[name]
    if name in INTEGERS:
        return 'int'
    return GENEROUS.get(name, name) if given else name


def nullable(text, is_so):
    return f'Optional[{text}]' if is_so else text


class Function:
    def __init__(self, node):
        self.node = node
        self.name = node.get('name') + ('_' if keyword.iskeyword(node.get('name')) else '')
        everything = node.findall(f'{CORE}parameters/{CORE}parameter')
        hidden = {int(p.get('closure')) for p in everything if p.get('closure')}
        hidden |= {int(p.get('destroy')) for p in everything if p.get('destroy')}
        hidden |= {int(a.get('length')) for a in node.iter(f'{CORE}array') if a.get('length')}
        shown = [p for i, p in enumerate(everything) if i not in hidden or p.get('name') == p.get('closure')]
        self.given = [p for p in shown if p.get('direction', 'in') != 'out' and p.get('name') != 'user_data']
        self.returned = [p for p in shown if p.get('direction', 'in') == 'out']

    def parameters(self):
        """Each with its type; those at the end that may be null may be left out."""
        optional_from = len(self.given)
        while optional_from > 0 and self.given[optional_from - 1].get('nullable') == '1':
            optional_from -= 1
        for i, parameter in enumerate(self.given):
            yield self._parameter(parameter, i >= optional_from)

    @staticmethod
    def _parameter(parameter, may_be_left_out):
        name = parameter.get('name') + ('_' if keyword.iskeyword(parameter.get('name')) else '')
        text = f'{name}: {nullable(type_of(parameter, True), parameter.get("nullable") == "1")}'
        return text + (' = None' if may_be_left_out else '')

    def options(self):
        """The name of the class of options that the function takes, or None."""
        kinds = [type_of(p) for p in self.given if p.get('name') == 'options']
        return kinds[0] if kinds else None

    def result(self, owner=None):
        value = self.node.find(f'{CORE}return-value')
        text = nullable(type_of(value), value.get('nullable') == '1')
        if owner is not None and self.node.tag == f'{CORE}constructor':
            text = owner
        outs = ([] if text == 'None' else [text]) + [type_of(p) for p in self.returned]
        return 'None' if not outs else outs[0] if len(outs) == 1 else f'Tuple[{", ".join(outs)}]'


def signature(name, parameters, result, indent, is_static, is_method, decorators=()):
    lines = [f'{indent}@{decorator}' for decorator in decorators]
    if is_static:
        lines.append(f'{indent}@staticmethod')
    arguments = (['self'] if is_method else []) + parameters
    text = f'{indent}def {name}({", ".join(arguments)}) -> {result}: ...'
    if len(text) > 110:
        text = f'{indent}def {name}(\n{indent}    ' + f',\n{indent}    '.join(arguments) + f',\n{indent}) -> {result}: ...'
    return lines + [text]


def write_function(function, others, owner, indent):
    is_method = function.node.tag == f'{CORE}method'
    is_static = owner is not None and not is_method
    finish = others.get(function.name[:-len('async')] + 'finish') if function.name.endswith('_async') else None
    parameters = list(function.parameters())
    # The overrides make the options of keywords.
    more = OPTIONS.get(function.options(), [])
    if finish is None:
        if more:
            parameters = [p if p.startswith('options:') is False or '=' in p else p + ' = None' for p in parameters]
        return signature(function.name, parameters + more, function.result(owner), indent, is_static, is_method)
    # With a callback, as the library has it; without, to be awaited.
    before = [p for p in parameters if p.split(':')[0] not in ('io_priority', 'cancellable', 'callback')]
    if more:
        before = [p + ' = None' if p.startswith('options:') else p for p in before]
    first = [*[p.removesuffix(' = None') for p in before], 'io_priority: int',
             'cancellable: Optional[Gio.Cancellable]', 'callback: Optional[Callable[..., None]]', '*user_data: Any']
    second = [*before, 'io_priority: int = ...', 'cancellable: Optional[Gio.Cancellable] = None', *more]
    return (signature(function.name, first, 'None', indent, is_static, is_method, ['overload'])
            + signature(function.name, second, f'Awaitable[{finish.result(owner)}]', indent, is_static, is_method,
                        ['overload']))


def functions_of(node):
    for kind in ('constructor', 'function', 'method'):
        for found in node.findall(CORE + kind):
            if found.get('introspectable') != '0' and not found.get('moved-to'):
                yield Function(found)


def write_functions(node, owner, indent):
    functions = {function.name: function for function in functions_of(node)}
    lines = []
    for function in functions.values():
        lines += write_function(function, functions, owner, indent)
    return lines


def write_properties(node, given=False):
    lines = []
    for found in node.findall(f'{CORE}property'):
        if found.get('introspectable') != '0':
            # Not every value that may be null says so in the GIR: objects and strings may.
            lines.append((found.get('name').replace('-', '_'), type_of(found, given)))
    return lines


def write_virtual_methods(node):
    lines = []
    for found in node.findall(f'{CORE}virtual-method'):
        if found.get('introspectable') != '0':
            function = Function(found)
            lines += signature('do_' + function.name, list(function.parameters()), function.result(), '    ', False, True)
    return lines


def write_class(node, inherited):
    name = node.get('name')
    parent = node.get('parent') or {'class': 'GObject.Object', 'interface': 'GObject.GInterface'}.get(
        node.tag.removeprefix(CORE), 'GObject.GBoxed')
    properties = write_properties(node)
    lines = ['', '', f'class {name}({parent}):']
    if properties:
        lines += ['    class _Props:', *[f'        {key}: {kind}' for key, kind in properties], '']
        lines += ['    props: Any' if inherited else '    props: _Props']
    if node.tag == f'{CORE}class' and 'abstract' not in node.attrib:
        lines += ['    def __init__(self, **properties: Any) -> None: ...']
    lines += write_functions(node, name, '    ') + write_virtual_methods(node)
    lines += [line for line in OVERRIDES.get(name, '').splitlines() if line]
    return lines if len(lines) > 3 else lines[:-1] + [lines[-1] + ' ...']


def write_enumeration(node):
    base = 'GObject.GFlags' if node.tag == f'{CORE}bitfield' else 'GObject.GEnum'
    lines = ['', '', f'class {node.get("name")}({base}):']
    lines += [f'    {member.get("name").upper()}: {node.get("name")}' for member in node.findall(f'{CORE}member')]
    return lines + write_functions(node, node.get('name'), '    ')


def write_errors(node):
    lines = []
    for member in node.findall(f'{CORE}member'):
        name = ''.join(word.capitalize() for word in member.get('name').split('_'))
        lines += ['', '', f'class {name}Error(ImageError): ...']
    return lines


def write_constants(namespace):
    return [f'{c.get("name")}: {type_of(c)}' for c in namespace.findall(f'{CORE}constant')]


def write_callbacks(namespace):
    for node in namespace.findall(f'{CORE}callback'):
        function = Function(node)
        kinds = ', '.join(type_of(parameter) for parameter in function.given)
        yield f'{node.get("name")} = Callable[[{kinds}], {function.result()}]'


def collect_options(namespace):
    for node in namespace.findall(f'{CORE}class'):
        if node.get('name').endswith('Options'):
            keywords = (f'{key}: Optional[{kind}] = ...' for key, kind in write_properties(node, given=True))
            OPTIONS[node.get('name')] = ['*', *keywords]


def main():
    namespace = ElementTree.parse(sys.argv[1]).getroot().find(f'{CORE}namespace')
    collect_options(namespace)
    lines = write_constants(namespace) + list(write_callbacks(namespace))
    for kind in ('enumeration', 'bitfield'):
        for node in namespace.findall(CORE + kind):
            lines += write_enumeration(node)
    for kind in ('interface', 'class', 'record'):
        for node in namespace.findall(CORE + kind):
            hidden = node.get(f'{GLIB}is-gtype-struct-for') or node.get('disguised') or node.get('introspectable') == '0'
            if not hidden:
                lines += write_class(node, node.get('parent') not in (None, 'GObject.Object'))
    lines += ['', ''] + write_functions(namespace, None, '')
    errors = next(node for node in namespace.findall(f'{CORE}enumeration') if node.get('name') == 'Error')
    text = HEAD + '\n'.join(lines) + '\n\n' + TAIL + '\n'.join(write_errors(errors)) + '\n'
    sys.stdout.write(text)


main()
