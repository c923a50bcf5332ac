"""What every decorator checks about what it is given, before anything runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from awaitly.errors import ConfigurationError, UsageError
from awaitly.model.names import nearest
from awaitly.texts import NAMED, named

Choice = TypeVar("Choice", bound=StrEnum)


def checked_function(fn: object, what: str, *, asynchronous: bool = False) -> str:
    """Return how messages name ``fn``: ``step charge (orders.py:12)``.

    Raises:
        ConfigurationError: ``invalid-option``, if it is not a function, or not an ``async def`` where one is needed.
        UsageError: ``step-on-method``, if it belongs to a class body.
    """
    if not inspect.isfunction(fn):
        raise ConfigurationError(
            f"@{what} was given {fn!r}, which is not a function",
            hint=f"put @{what} directly above an async def{'' if asynchronous else ' or def'}, below other decorators",
            code="invalid-option",
        )
    where = f"{what} {fn.__name__} ({fn.__code__.co_filename.rsplit('/', 1)[-1]}:{fn.__code__.co_firstlineno})"
    owner, _, _ = fn.__qualname__.rpartition(".")
    if owner and not owner.endswith("<locals>"):
        raise refuse_method(where)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(
            f"{where} is a generator", hint="return a list, or make each item a step of its own", code="invalid-option"
        )
    if asynchronous and not inspect.iscoroutinefunction(fn):
        raise ConfigurationError(f"{where} is a plain def", hint="write it as an async def", code="invalid-option")
    return where


def refuse_nameless(fn: Callable[..., Any], where: str) -> None:
    """Refuse a lambda: steps are stored and found by their names.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if fn.__name__ == "<lambda>":
        raise ConfigurationError(
            f"{where} has no name, by which it would be stored and found",
            hint='write it as a def, or give a step one: step(name="double")(lambda ...)',
            code="invalid-option",
        )


def refuse_method(where: str) -> UsageError:
    """Return the error for a step or workflow in a class body."""
    return UsageError(
        f"{where} belongs to a class",
        hint="use a function: pass what it needs as arguments; name those that cannot be stored in unfingerprinted=",
        code="step-on-method",
    )


def checked_options(options: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse options that do not exist.

    Raises:
        ConfigurationError: ``unknown-option``, naming the nearest one.
    """
    for name in options:
        if name not in known:
            close = nearest(name, known)
            raise ConfigurationError(
                f"{where} has an option {name!r} that does not exist",
                hint=f"did you mean {close!r}?" if close else f"the options are {', '.join(sorted(known))}",
                code="unknown-option",
            )


def checked_errors(errors: object, where: str) -> tuple[type[BaseException], ...]:
    """Return ``errors`` as a tuple of exception classes.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    found = errors if isinstance(errors, tuple) else (errors,)
    for entry in found:
        if not (isinstance(entry, type) and issubclass(entry, Exception)):
            raise ConfigurationError(
                f"errors= of {where} holds {entry!r}, which is not an exception class",
                hint="give a class derived from Failure or Exception, or a tuple of them",
                code="invalid-option",
            )
    return found


def checked_text(text: object, what: str) -> str:
    """Return ``text`` if it is a string that is not blank and can be stored.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if not named(text):
        raise ConfigurationError(f"{what} is {text!r}", hint=NAMED, code="invalid-option")
    return text


def checked_tags(tags: object, what: str) -> tuple[str, ...]:
    """Return ``tags`` as a tuple of strings.

    Raises:
        ConfigurationError: ``invalid-option``.
    """
    if isinstance(tags, str) or not isinstance(tags, (tuple, list, set, frozenset)):
        raise ConfigurationError(
            f"{what} is {tags!r}", hint='give a tuple of strings, as in ("billing",)', code="invalid-option"
        )
    return tuple(checked_text(tag, what) for tag in tags)


def checked_choice(kind: type[Choice], value: object, what: str, *, offered: Sequence[str]) -> Choice:
    """Return ``value`` as a member of ``kind``.

    Raises:
        ConfigurationError: ``invalid-option``, naming what is offered.
    """
    try:
        return kind(str(value))
    except ValueError:
        names = ", ".join(map(repr, offered))
        raise ConfigurationError(f"{what} is {value!r}", hint=f"choose one of {names}", code="invalid-option") from None
