"""What takes the place of a call that failed: a value, a function or another step."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from awaitly.errors import ConfigurationError
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import error_classes, refuse
from awaitly.policies.sharing import Shared
from awaitly.policies.single import Single

T = TypeVar("T")


class _Unset(Enum):
    """Tells "not given" from None, which is a value."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "unset"


_UNSET = _Unset.UNSET


@dataclass(frozen=True, slots=True, repr=False)
class Fallback(Single):
    """Answers in the place of a call that failed. It is asked last: after all retries, and past the call's deadline.

    Args:
        to: A function, sync or async, or a step: called with the arguments of the call. A plain function is called on
            the event loop, so it must not block.
        value: What to return instead; always this very object. Give either ``to`` or ``value``.
        on: The class of errors, or a tuple of classes, that it answers for; the default is every ``Exception``.
            Cancellation and what else is no ``Exception`` always passes.

    Raises:
        ConfigurationError: ``invalid-option``.
    """

    to: Callable[..., Any] | _Unset = _UNSET
    _: KW_ONLY
    value: Any = _UNSET
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        _check_answer(self.to, self.value)
        for cls in error_classes(self.on, "on= of a fallback"):
            if not issubclass(cls, Exception):
                raise refuse("on= of a fallback", cls, "give subclasses of Exception: anything else always passes")

    def __repr__(self) -> str:
        answer = f"value={self.value!r}" if self.to is _UNSET else getattr(self.to, "__qualname__", repr(self.to))
        classes = self.on if isinstance(self.on, tuple) else (self.on,)
        names = ", ".join(cls.__name__ for cls in classes)
        if classes == (Exception,):
            return f"Fallback({answer})"
        return f"Fallback({answer}, on={names if len(classes) == 1 else f'({names})'})"

    def bound(self, shared: Shared, owner: str) -> Around:
        """Return what wraps the calls of one step; a fallback has no state."""
        return self._instead

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        return self._instead

    async def _instead(self, call: Call[T], course: Course) -> T:
        try:
            return await call()
        except Exception as error:
            if not isinstance(error, self.on):
                raise
            # In here, so that an error of the fallback has this one as its context.
            return await course.substitute(partial(self.answer, course), error)

    async def answer(self, course: Course) -> Any:
        """Return what takes the place of a call."""
        if isinstance(self.to, _Unset):
            return self.value
        answer = self.to(*course.args, **course.kwargs)
        return await answer if isawaitable(answer) else answer


def _check_answer(to: object, value: object) -> None:
    if (to is _UNSET) == (value is _UNSET):
        raise ConfigurationError(
            "a fallback is given nothing to answer with" if to is _UNSET else "a fallback is given two answers",
            hint="give either a function or step, as in Fallback(cached_user), or a value, as in Fallback(value=0)",
            code="invalid-option",
        )
    if to is not _UNSET and not callable(to):
        raise refuse("the function of a fallback", to, f"give a value by its name, as in Fallback(value={to!r})")
