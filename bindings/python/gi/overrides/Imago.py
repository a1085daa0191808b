# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Python expects of a disk image, on top of what the typelib says.

Everything works without this file. With it an image is a context manager and a mutable sequence of
bytes, errors have classes, paths and buffers need no wrapping, and an ``_async`` call without a
callback can be awaited.
"""

import asyncio
import collections.abc
import contextlib
import ctypes
import functools
import operator
import os
import selectors
import signal
import socket
import threading

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module

Imago = get_introspection_module('Imago')

__all__ = []

EXTENTS_PER_CALL = 256


def public(item):
    globals()[item.__name__] = item
    __all__.append(item.__name__)
    return item


# ---- errors ----

DOMAIN = GLib.quark_to_string(Imago.Error.quark())


@public
class ImageError(GLib.Error):
    """What the library itself reports: the base of one class for each code of Imago.Error.

    A hook that raises one fails with its code.
    """

    CODE = Imago.Error.FAILED

    def __init__(self, message='', domain=DOMAIN, code=None):
        super().__init__(message, domain, int(self.CODE if code is None else code))


def error_classes():
    """Maps each code to its class: LOCKED to LockedError."""
    classes = {}
    for code in (getattr(Imago.Error, name) for name in dir(Imago.Error) if name.isupper()):
        name = ''.join(word.capitalize() for word in code.value_nick.split('-')) + 'Error'
        names = {'__module__': 'gi.repository.Imago', '__doc__': f'An error with the code {code.value_name}.',
                 'CODE': code}
        kind = type(name, (ImageError,), names)
        classes[int(code)] = public(kind)
    return classes


def give_errors_their_classes():
    """GLib.Error makes an instance of the class that belongs to its code, whoever raises it.

    It is made in PyGObject's C code, for functions of Gio that pass our errors on too, so that there
    is no other place which sees all of them. Errors of other domains stay what they are.
    """
    classes = error_classes()
    make = GLib.Error.__new__

    def new(kind, *arguments, **keywords):
        if kind is GLib.Error and len(arguments) == 3 and arguments[1] == DOMAIN:
            kind = classes.get(arguments[2], ImageError)
        return make(kind, *arguments, **keywords)

    GLib.Error.__new__ = staticmethod(new)


give_errors_their_classes()


# ---- awaiting ----

def forward(future, finish, source, result):
    """Puts the outcome into the future, unless nobody waits for it any more."""
    try:
        outcome = finish(result) if source is None else finish(source, result)
    except Exception as error:
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(outcome)


def somebody_iterates(context):
    """Whether a thread, this or another, runs the main context right now."""
    if context.is_owner():
        return True
    if context.acquire():
        context.release()
        return False
    return True


@contextlib.contextmanager
def following(cancellable, given):
    """@cancellable is cancelled when @given is, but not the other way round: other calls may have been given it, too."""
    if given is None:
        yield
        return
    handler = GObject.Object.connect(given, 'cancelled', lambda _: cancellable.cancel())
    if given.is_cancelled():
        cancellable.cancel()
    try:
        yield
    finally:
        GObject.signal_handler_disconnect(given, handler)


async def waiting(start, finish, source, given):
    """Starts the call in the thread-default main context and waits for it under asyncio."""
    loop = asyncio.get_running_loop()
    context = GLib.MainContext.get_thread_default() or GLib.MainContext.default()
    if not somebody_iterates(context):
        raise RuntimeError('this asyncio loop does not run the GLib main context: use Imago.run() or Imago.EventLoop')
    future = loop.create_future()

    def done(_source, result):
        if context_is_ours:
            forward(future, finish, source, result)
        else:
            loop.call_soon_threadsafe(forward, future, finish, source, result)

    context_is_ours = context.is_owner()
    cancellable = Gio.Cancellable()
    with following(cancellable, given):
        start(cancellable, done)
        try:
            return await future
        except asyncio.CancelledError:
            cancellable.cancel()
            raise


CONDITIONS = {
    selectors.EVENT_READ: GLib.IOCondition.IN | GLib.IOCondition.HUP | GLib.IOCondition.ERR,
    selectors.EVENT_WRITE: GLib.IOCondition.OUT | GLib.IOCondition.HUP | GLib.IOCondition.ERR,
}


class FileSource(GLib.Source):
    """One source for all files that asyncio waits for: being dispatched is all it has to do."""

    def prepare(self):
        return False, -1

    def check(self):
        return any(self.query_unix_fd(tag) for tag in self.tags.values())

    def dispatch(self, *_):
        self.set_ready_time(-1)
        return GLib.SOURCE_CONTINUE


class Selector(selectors.BaseSelector):
    """Waits for files in a GLib main context, so that asyncio and GLib share one thread."""

    def __init__(self, context):
        self.context = context
        self.keys = {}
        self.source = FileSource()
        self.source.tags = {}
        self.source.set_can_recurse(True)
        self.source.attach(context)

    def get_map(self):
        return self.keys

    def get_key(self, fileobj):
        return self.keys[fd_of(fileobj)]

    def register(self, fileobj, events, data=None):
        fd = fd_of(fileobj)
        if fd in self.keys:
            raise KeyError(f'file descriptor {fd} is registered already')
        key = self.keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        condition = GLib.IOCondition(0)
        for event, wanted in CONDITIONS.items():
            if events & event:
                condition |= wanted
        self.source.tags[fd] = self.source.add_unix_fd(fd, condition)
        return key

    def unregister(self, fileobj):
        key = self.keys.pop(fd_of(fileobj))
        self.source.remove_unix_fd(self.source.tags.pop(key.fd))
        return key

    def select(self, timeout=None):
        """One turn of the main context; whatever it dispatched may have made asyncio's callbacks ready."""
        may_wait = timeout is None or timeout > 0
        wakes = timeout is not None and timeout > 0
        self.source.set_ready_time(GLib.get_monotonic_time() + int(timeout * 1e6) + 1 if wakes else -1)
        self.context.iteration(may_wait)
        found = ((key, self._events_of(key)) for key in self.keys.values())
        return [(key, events) for key, events in found if events]

    def _events_of(self, key):
        seen = self.source.query_unix_fd(self.source.tags[key.fd])
        return sum(event for event, wanted in CONDITIONS.items() if key.events & event and seen & wanted)

    def close(self):
        self.source.destroy()
        self.keys.clear()


def fd_of(fileobj):
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


@public
class EventLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that runs the thread-default GLib main context, or the one given."""

    def __init__(self, context=None):
        self.context = context or GLib.MainContext.get_thread_default() or GLib.MainContext.default()
        super().__init__(Selector(self.context))

    def run_forever(self):
        if not self.context.acquire():
            raise RuntimeError('another thread runs this main context')
        try:
            with self._woken_by_signals():
                super().run_forever()
        finally:
            self.context.release()

    @contextlib.contextmanager
    def _woken_by_signals(self):
        """Python runs its signal handlers between instructions: a signal must end the wait in the main context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            self.add_reader(reader, reader.recv, 4096)
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                self.remove_reader(reader)


@public
def run(main, *, debug=None):
    """asyncio.run() on a loop that runs the GLib main context too."""
    if hasattr(asyncio, 'Runner'):
        with asyncio.Runner(debug=debug, loop_factory=EventLoop) as runner:
            return runner.run(main)
    # Python before 3.11.
    loop = EventLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


# ---- arguments ----

def to_file(value):
    return Gio.File.new_for_path(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else value


def to_bytes(value):
    """PyGObject would take any other buffer than bytes item by item, a hundred times slower, or not at all."""
    try:
        view = memoryview(value)
    except TypeError:
        return value
    return GLib.Bytes.new(value if isinstance(value, bytes) else bytes(view))


CONVERSIONS = {('Gio', 'File'): to_file, ('GLib', 'Bytes'): to_bytes}
PROPERTY_CONVERSIONS = {'GFile': to_file, 'GBytes': to_bytes}
OPTIONS = ('OpenOptions', 'CreateOptions')


def interface_of(argument):
    """(namespace, name) of the type of an argument, or None of a plain one."""
    kind = argument.get_type()
    if kind.get_tag_as_string() != 'interface':
        return None
    return kind.get_interface().get_namespace(), kind.get_interface().get_name()


class Signature:
    """What is to be done with the arguments of one function."""

    def __init__(self, info):
        arguments = [a for a in info.get_arguments() if a.get_name() != 'user_data']
        self.names = [a.get_name() for a in arguments]
        self.conversions = {}
        self.options = None
        for argument in arguments:
            interface = interface_of(argument)
            if interface in CONVERSIONS:
                self.conversions[argument.get_name()] = CONVERSIONS[interface]
            elif interface and interface[0] == 'Imago' and interface[1] in OPTIONS:
                self.options = argument.get_name(), getattr(Imago, interface[1])

    def is_interesting(self):
        return bool(self.conversions or self.options)

    def arrange(self, arguments, keywords):
        """The arguments, converted; keywords that are no argument become properties of the options."""
        arguments = list(arguments)
        for name, convert in self.conversions.items():
            index = self.names.index(name)
            if index < len(arguments):
                arguments[index] = convert(arguments[index])
            elif name in keywords:
                keywords[name] = convert(keywords[name])
        if self.options:
            self._collect_options(arguments, keywords)
        return arguments, keywords

    def _collect_options(self, arguments, keywords):
        name, kind = self.options
        properties = {key: keywords.pop(key) for key in list(keywords) if key not in self.names + ['user_data']}
        index = self.names.index(name)
        given = keywords.get(name) or (arguments[index] if index < len(arguments) else None)
        if not properties:
            if index >= len(arguments):
                keywords.setdefault(name, None)
            return
        if given is not None:
            raise TypeError(f'{name} and {", ".join(properties)} cannot both be given')
        if index < len(arguments):
            arguments[index] = kind(**properties)
        else:
            keywords[name] = kind(**properties)

    def has_callback(self, arguments, keywords):
        return 'callback' in keywords or len(arguments) > self.names.index('callback')

    def awaitable(self, arguments, keywords):
        """(arguments, cancellable) of a call without a callback, with its defaults."""
        values = dict(zip(self.names, arguments))
        values.update(keywords)
        values.setdefault('io_priority', GLib.PRIORITY_DEFAULT)
        given = values.pop('cancellable', None)
        missing = [name for name in self.names[:-2] if name not in values]
        if missing:
            raise TypeError(f'missing arguments: {", ".join(missing)}')
        return [values[name] for name in self.names[:-2]], given


def with_conversions(original, signature, first):
    """A function that takes paths and buffers; @first is how many arguments come before the first."""
    @functools.wraps(original, ('__name__', '__doc__'))
    def call(*arguments, **keywords):
        rest, keywords = signature.arrange(arguments[first:], keywords)
        return original(*arguments[:first], *rest, **keywords)
    return call


def with_await(original, finish, signature, first):
    """An asynchronous function that can be awaited when no callback is given."""
    @functools.wraps(original, ('__name__', '__doc__'))
    def call(*arguments, **keywords):
        rest, keywords = signature.arrange(arguments[first:], keywords)
        source = arguments[:first]
        if signature.has_callback(rest, keywords):
            return original(*source, *rest, **keywords)
        rest, given = signature.awaitable(rest, keywords)
        return waiting(functools.partial(original, *source, *rest), finish, source[0] if source else None, given)
    return call


def adapt(owner, infos):
    """Replaces the functions of a class or of the namespace for which there is something to do."""
    infos = {info.get_name(): info for info in infos}
    for name, info in infos.items():
        is_method = owner is not Imago and info.is_method()
        original = owner.__dict__[name] if is_method else getattr(owner, name)
        signature = Signature(info)
        finish = infos.get(name[:-len('async')] + 'finish') if name.endswith('_async') else None
        if finish is not None:
            finish = owner.__dict__[finish.get_name()] if is_method else getattr(owner, finish.get_name())
            call = with_await(original, finish, signature, int(is_method))
        elif signature.is_interesting():
            call = with_conversions(original, signature, int(is_method))
        else:
            continue
        if owner is Imago:
            public(call)
        else:
            setattr(owner, name, call if is_method else staticmethod(call))


# ---- the memory of buffers ----

class NativeError(ctypes.Structure):
    _fields_ = [('domain', ctypes.c_uint32), ('code', ctypes.c_int), ('message', ctypes.c_char_p)]


@functools.lru_cache(maxsize=None)
def native_read_at():
    """imago_image_read_at (), which introspection cannot call, or None where the library has no such name."""
    try:
        function = ctypes.CDLL('libimago-glib-1.0.so.0').imago_image_read_at
        release = ctypes.CDLL('libglib-2.0.so.0').g_error_free
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                         ctypes.POINTER(ctypes.POINTER(NativeError))]
    function.restype = ctypes.c_int
    release.argtypes = [ctypes.POINTER(NativeError)]
    release.restype = None
    return function, release


def pointer_of(item):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.argtypes, get.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    return get(item.__gpointer__, None) if item is not None else None


def read_natively(image, offset, address, count, cancellable):
    """Says about wrong arguments what PyGObject says, as ctypes would take the lowest bits of any offset."""
    if not 0 <= offset < 1 << 64:
        raise OverflowError(f'{offset} not in range 0 to {(1 << 64) - 1}')
    if not isinstance(cancellable, (Gio.Cancellable, type(None))):
        raise TypeError(f'argument cancellable: Expected Gio.Cancellable, but got {type(cancellable).__name__}')
    function, release = native_read_at()
    problem = ctypes.POINTER(NativeError)()
    if function(pointer_of(image), offset, address, count, pointer_of(cancellable), ctypes.byref(problem)):
        return
    found = problem.contents
    error = GLib.Error(found.message.decode(), GLib.quark_to_string(found.domain), found.code)
    release(problem)
    raise error


# ---- images ----

def as_methods_of(kind):
    def give(methods):
        for name, item in vars(methods).items():
            if name not in ('__module__', '__dict__', '__weakref__', '__doc__', '__qualname__'):
                setattr(kind, name, item)
        return methods
    return give


@as_methods_of(Imago.Image)
class ImageMethods:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close(None)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close_async()

    def __len__(self):
        return self.get_size()

    def __bool__(self):
        return True

    def __getitem__(self, key):
        if not isinstance(key, slice):
            return self.read_bytes(place_of(self, key), 1, None).get_data()[0]
        start, count = range_of(self, key)
        return self.read_bytes(start, count, None).get_data() if count else b''

    def __setitem__(self, key, value):
        if isinstance(key, slice):
            start, count = range_of(self, key)
            value = to_bytes(value)
            if not isinstance(value, GLib.Bytes):
                raise TypeError(f'bytes or another buffer can be written, not {type(value).__name__}')
            if value.get_size() != count:
                raise ValueError(f'{value.get_size()} bytes cannot take the place of {count}: a disk keeps its size')
        else:
            start, value = place_of(self, key), GLib.Bytes.new(bytes((value,)))
        if value.get_size():
            self.write_bytes(start, value, None)

    def __delitem__(self, key):
        raise TypeError('a disk keeps its size: write_zeroes() or discard() what is in it, or resize() it')

    def __iter__(self):
        raise TypeError('a disk is not read byte by byte: use slices, or extents()')

    def __contains__(self, item):
        raise TypeError('a disk is not searched')

    def __reversed__(self):
        raise TypeError('a disk is not read byte by byte')

    def readinto(self, offset, buffer, cancellable=None):
        """Fills a writable buffer with the bytes of the disk at @offset, without a copy in between."""
        view = memoryview(buffer).cast('B')
        if view.readonly:
            raise TypeError('the buffer cannot be written to')
        if not len(view):
            return 0
        if native_read_at() is not None:
            memory = (ctypes.c_char * len(view)).from_buffer(view)
            read_natively(self, operator.index(offset), ctypes.addressof(memory), len(view), cancellable)
        else:
            view[:] = self.read_bytes(offset, len(view), cancellable).get_data()
        return len(view)

    def extents(self, offset=0, length=None, flags=Imago.MapFlags.NONE, cancellable=None):
        """Yields the extents of the disk, or of a part of it, a few at a time."""
        end = self.get_size() if length is None else offset + length
        while offset < end:
            for extent in self.map_extents(offset, end - offset, EXTENTS_PER_CALL, flags, cancellable):
                offset = extent.get_offset() + extent.get_length()
                yield extent


def place_of(image, index):
    size = image.get_size()
    place = index.__index__()
    place = place + size if place < 0 else place
    if not 0 <= place < size:
        raise IndexError('past the end of the disk')
    return place


def range_of(image, key):
    if key.step not in (None, 1):
        raise ValueError('a disk is read and written without a step')
    start, stop, _ = key.indices(image.get_size())
    return start, max(0, stop - start)


@as_methods_of(Imago.ExtentArray)
class ExtentArrayMethods:
    def __len__(self):
        return self.get_n()

    def __getitem__(self, index):
        place = index.__index__()
        place = place + len(self) if place < 0 else place
        if not 0 <= place < len(self):
            raise IndexError('no such extent')
        # The array keeps what get () returns; a copy outlives it.
        return self.get(place).copy()


def with_converted_properties(kind, conversions):
    """The constructor of a class some of whose properties are files or bytes."""
    make = kind.__init__

    @functools.wraps(make, ('__name__', '__doc__'))
    def init(self, *arguments, **properties):
        for name in conversions.keys() & properties.keys():
            properties[name] = conversions[name](properties[name])
        make(self, *arguments, **properties)

    return init


def adapt_properties(kind):
    found = {p.name.replace('-', '_'): PROPERTY_CONVERSIONS.get(p.value_type.name) for p in kind.list_properties()}
    conversions = {name: convert for name, convert in found.items() if convert}
    if conversions:
        kind.__init__ = with_converted_properties(kind, conversions)


def adapt_all():
    for name in dir(Imago):
        if name.startswith('_'):
            continue
        item = getattr(Imago, name)
        info = getattr(item, '__info__', None)
        if isinstance(item, type) and hasattr(info, 'get_methods') and info.get_namespace() == 'Imago':
            adapt(item, info.get_methods())
            if issubclass(item, GObject.Object):
                adapt_properties(item)
    functions = [getattr(Imago, name) for name in dir(Imago) if not name.startswith('_')]
    adapt(Imago, [item for item in functions if type(item).__name__ == 'FunctionInfo'])


adapt_all()
collections.abc.Sized.register(Imago.Image)
