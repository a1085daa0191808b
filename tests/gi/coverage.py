# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which introspectable functions exist (from the GIR) and which of them were really called."""

import functools
import xml.etree.ElementTree as ElementTree

CORE = '{http://www.gtk.org/introspection/core/1.0}'
C = '{http://www.gtk.org/introspection/c/1.0}'
GLIB = '{http://www.gtk.org/introspection/glib/1.0}'
CONTAINERS = ('class', 'interface', 'record', 'enumeration', 'bitfield')
CALLABLES = ('constructor', 'method', 'function')

# A language's runtime copies, references and frees boxed values itself.
RUNTIME = ('copy', 'ref', 'unref', 'free')


def public_functions(gir):
    """Yields (type name or None, kind, name): what a language can call."""
    namespace = ElementTree.parse(gir).getroot().find(f'{CORE}namespace')
    for container in [namespace] + [e for kind in CONTAINERS for e in namespace.iter(CORE + kind)]:
        type_name = None if container is namespace else container.get('name')
        for kind in CALLABLES:
            for function in container.findall(CORE + kind):
                if function.get('introspectable') == '0' or function.get('moved-to'):
                    continue
                if container.tag == f'{CORE}record' and function.get('name') in RUNTIME:
                    continue
                yield type_name, kind, function.get('name')


class Recorder:
    """Wraps every function of a namespace so that calls are counted."""

    def __init__(self, namespace, gir):
        self.functions = list(public_functions(gir))
        self.called = set()
        for type_name, kind, name in self.functions:
            owner = namespace if type_name is None else getattr(namespace, type_name)
            self._wrap(owner, type_name, kind, name)

    def _wrap(self, owner, type_name, kind, name):
        key = (type_name, name)
        original = getattr(owner, name)

        def call(*arguments, **keywords):
            self.called.add(key)
            return original(*arguments, **keywords)

        try:
            functools.update_wrapper(call, original)
        except AttributeError:
            pass
        setattr(owner, name, call if kind == 'method' or type_name is None else staticmethod(call))

    def missing(self):
        return ['.'.join(filter(None, (type_name, name)))
                for type_name, _, name in self.functions if (type_name, name) not in self.called]


if __name__ == '__main__':
    import json
    import sys
    json.dump(list(public_functions(sys.argv[1])), sys.stdout, indent=1)
