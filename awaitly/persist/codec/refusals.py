"""Why values of a type cannot be stored, and what to use instead."""

import abc
import asyncio
import collections.abc
import contextvars
import io
import queue
import re
import socket
import threading
import types
import typing
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, get_origin


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not, and what instead."""

    why: str
    hint: str


_ONCE = Reason("it can be consumed only once", "Return a list or a tuple of what it yields")
_CODE = Reason("code is not data", "Return what it computes, or a name that the caller looks up")
_PROCESS = Reason(
    "it belongs to this process", "Return what identifies it (a path, an address, an id) and open it again"
)
_SECRET = Reason(
    "secrets are never stored in clear", "Return a reference to the secret, and fetch it where it is needed"
)
_FACTORY = Reason("its default factory is code", "Return a dict")
_UNKNOWN = Reason(
    "awaitly does not know what such a value consists of",
    "Use a dataclass, a pydantic model, a NamedTuple, a TypedDict or an Enum",
)
_ABSTRACT = Reason(
    "which class its values have cannot be told from it",
    "Annotate the class, or the union of the classes that there are",
)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), asyncio.Lock, asyncio.Event, asyncio.Queue, queue.Queue)

_REASONS: tuple[tuple[tuple[Any, ...], Reason], ...] = (
    (
        (
            collections.abc.Iterator,
            collections.abc.AsyncIterator,
            collections.abc.AsyncIterable,
            collections.abc.Awaitable,
            asyncio.Future,
        ),
        _ONCE,
    ),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType, type, types.ModuleType), _CODE),
    ((io.IOBase, typing.IO, socket.socket, threading.Thread, contextvars.ContextVar, re.Pattern, *_LOCKS), _PROCESS),
    ((defaultdict,), _FACTORY),
)


def reason(annotation: Any) -> Reason:
    """Return why values of an annotation that no codec takes cannot be stored."""
    cls = get_origin(annotation) or annotation
    if cls in (typing.Callable, collections.abc.Callable):
        return _CODE
    if not isinstance(cls, type):
        return _UNKNOWN
    if cls.__module__ == "pydantic.types" and cls.__name__.startswith("Secret"):
        return _SECRET
    for classes, given in _REASONS:
        if issubclass(cls, classes):
            return given
    if isinstance(cls, abc.ABCMeta) and (
        getattr(cls, "__abstractmethods__", None) or getattr(cls, "_is_protocol", False)
    ):
        return _ABSTRACT
    return _UNKNOWN
