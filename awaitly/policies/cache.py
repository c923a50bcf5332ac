"""Answers that are kept for a while, so that the same question is not asked again.

What is kept of steps is encoded, as it would be stored: so every call gets an object of its own. Only functions outside
of runs, which need not return anything storable, have their live values kept.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass
from enum import Enum
from functools import partial
from inspect import signature
from string import Formatter
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from awaitly.errors import ConfigurationError
from awaitly.model.clock import Clock
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import CacheHit
from awaitly.policies.course import Around, Call, Course
from awaitly.policies.options import check_choice, check_count, check_duration, check_name, refuse
from awaitly.policies.sharing import Shared
from awaitly.policies.single import Single

T = TypeVar("T")
D = TypeVar("D")  # what is kept: encoded outcomes, or live values in a tuple
K = TypeVar("K", bound=Hashable)
D_shelf = TypeVar("D_shelf")
K_shelf = TypeVar("K_shelf", contravariant=True)

_log = logging.getLogger("awaitly")
_formatter = Formatter()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Cache(Single):
    """Keeps the successes of calls; who asks the same within the time gets the same answer without a call.

    Calls that ask the same at once become one, in this process. Failures are neither kept nor shared.

    Args:
        ttl: How long an answer holds: seconds or text such as ``"1h"``.
        where: ``"memory"`` of this process, or the runtime's ``"store"``, which processes share and which outlives
            them.
        size: How many answers are kept in memory; beyond it, the one that was not asked for the longest goes.
        key: A template over the arguments that says what "the same" is, such as ``"user:{user_id}"``. The default is
            all arguments.

    Raises:
        ConfigurationError: ``invalid-duration`` or ``invalid-option``.
    """

    ttl: Duration
    _: KW_ONLY
    where: Literal["memory", "store"] = "memory"
    size: int = 10_000
    key: str | None = None

    def __post_init__(self) -> None:
        check_duration(self.ttl, "ttl of a cache")
        check_choice(self.where, ("memory", "store"), "where= of a cache")
        check_count(self.size, "size= of a cache")
        check_name(self.key, "key= of a cache")

    @property
    def name(self) -> str | None:
        """None: a cache belongs to its declaration."""
        return None

    def bound(
        self, shared: Shared, owner: str, *, coding: "Coding", store: "Shelf[str, bytes] | None" = None
    ) -> Around:
        """Return what wraps the calls of one step.

        Args:
            shared: Whose the answers are.
            owner: The step.
            coding: Names and encodes the step's outcomes.
            store: Where answers are kept with ``where="store"``; without one they are kept in memory.
        """

        def made(cache: Cache) -> _Encoded:
            kept = store if store is not None and cache.where == "store" else Recent(shared.clock, cache.size)
            return _Encoded(kept, seconds(cache.ttl), shared.clock)

        return Caching(shared.state(_Encoded, self, made), coding)

    def _around(self, states: Shared, fn: Callable[..., Any]) -> Around:
        """Return what keeps the answers of a function: live objects, which nobody shall change.

        Raises:
            ConfigurationError: ``invalid-option``, if the cache is in the store, which keeps outcomes of runs only.
        """
        if self.where != "memory":
            raise refuse("where= of a cache", self.where, 'outside of runs, only where="memory" can be used')
        live = states.state(_Live, self, partial(_made_live, clock=states.clock))
        return partial(_kept_live, live, self.key, fn)


class Shelf(Protocol[K_shelf, D_shelf]):
    """Where answers are kept."""

    async def get(self, key: K_shelf, /) -> D_shelf | None:
        """Return what is kept under a key and has not expired."""

    async def put(self, key: K_shelf, data: D_shelf, expires: float, /) -> None:
        """Keep ``data`` until ``expires``, in seconds since the epoch."""


class Recent(Generic[K, D]):
    """A shelf in memory; when it is full, what was not asked for the longest goes.

    Args:
        clock: What expiry is of.
        size: How many answers it holds.
    """

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock = clock
        self._size = size
        self._kept: OrderedDict[K, tuple[D, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: K, /) -> D | None:
        """Return what is kept under a key, which is now the most recent."""
        data, expires = self._kept.get(key, (None, 0.0))
        if data is None:
            return None
        if expires <= self._clock.time():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return data

    async def put(self, key: K, data: D, expires: float, /) -> None:
        """Keep ``data`` as the most recent."""
        self._kept[key] = data, expires
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


class _Instead(Enum):
    """What those who wait are told, if there is no answer."""

    TAKE_OVER = "take over"  # who asked was cancelled: one of them asks in his place
    ASK_YOURSELF = "ask yourself"  # it failed; one after another, each would wait for all the failures before his own


Line: TypeAlias = deque[asyncio.Future[D | _Instead]]


class Cached(Generic[K, D]):
    """Answers of one cache. Of those who ask the same at once, one looks and calls, the others wait for its answer.

    Args:
        shelf: Where answers are kept. If it fails, nothing was kept; that is logged once.
        ttl: How many seconds an answer holds.
        clock: What expiry is of.
    """

    def __init__(self, shelf: Shelf[K, D], ttl: float, clock: Clock) -> None:
        self._shelf = shelf
        self._ttl = ttl
        self._clock = clock
        self._lines: dict[K, Line[D]] = {}  # there is one while somebody asks
        self._complained = False

    async def answer(self, key: K, ask: Callable[[], Awaitable[D | None]]) -> tuple[D | None, bool]:
        """Return the answer, and whether it was there or somebody else's.

        Args:
            key: What is asked.
            ask: Makes the call and returns its success; None if it failed, or is not to be kept. It is called in the
                task of the caller, once or not at all. If it fails, all who wait for it ask for themselves; if it is
                cancelled, one of them takes over.

        Raises:
            BaseException: What ``ask`` raises, to its own caller only.
        """
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = deque()
            return await self._lead(key, ask)

        told = await self._told(key, line)
        if told is _Instead.TAKE_OVER:
            return await self._lead(key, ask)
        if told is _Instead.ASK_YOURSELF:
            return await self._ask(key, ask), False
        return told, True

    async def keep(self, key: K, answer: D) -> None:
        """Keep an answer for the time of the cache, if it can be kept."""
        try:
            await self._shelf.put(key, answer, self._clock.time() + self._ttl)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the answer is there
            self._complain(error)

    async def _told(self, key: K, line: Line[D]) -> D | _Instead:
        turn: asyncio.Future[D | _Instead] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is _Instead.TAKE_OVER:
                self._tell(key, _Instead.TAKE_OVER)  # cancelled in the instant in which it was this one's turn
            raise

    async def _lead(self, key: K, ask: Callable[[], Awaitable[D | None]]) -> tuple[D | None, bool]:
        news: D | _Instead = _Instead.TAKE_OVER
        try:
            answer = await self._found(key)
            if answer is not None:
                news = answer
                return answer, True
            answer = await self._ask(key, ask)
            news = _Instead.ASK_YOURSELF if answer is None else answer
            return answer, False
        except Exception:
            news = _Instead.ASK_YOURSELF
            raise
        finally:
            self._tell(key, news)

    def _tell(self, key: K, news: D | _Instead) -> None:
        line = self._lines[key]
        while line:
            turn = line.popleft()
            if turn.done():
                continue
            turn.set_result(news)
            if news is _Instead.TAKE_OVER:
                return
        del self._lines[key]

    async def _ask(self, key: K, ask: Callable[[], Awaitable[D | None]]) -> D | None:
        answer = await ask()
        if answer is not None:
            await self.keep(key, answer)
        return answer

    async def _found(self, key: K) -> D | None:
        try:
            return await self._shelf.get(key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call can be made without it
            self._complain(error)
            return None

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("the store of a cache fails; calls are made as if nothing was kept: %s", error)


class Coding(Protocol):
    """Names what a step is asked, and encodes what it answers."""

    def key(self, course: Course, /) -> str:
        """Return what tells the call apart from all that would have another answer."""

    def encode(self, value: Any, /) -> bytes | None:
        """Return an answer as it is kept; None if it cannot be."""

    def decode(self, data: bytes, /) -> Any:
        """Return an answer again; whatever is raised means that it is of no use any more."""


class Caching:
    """A cache around the calls of one step.

    Args:
        cached: The answers.
        coding: Names and encodes them.
    """

    __slots__ = ("_cached", "_coding")

    def __init__(self, cached: Cached[str, bytes], coding: Coding) -> None:
        self._cached = cached
        self._coding = coding

    async def __call__(self, call: Call[T], course: Course, /) -> T:
        """Return the answer that is kept, or what the call gives."""
        key = self._coding.key(course)
        made: list[T] = []

        async def ask() -> bytes | None:
            made.append(await call())
            return self._coding.encode(made[0])

        data, hit = await self._cached.answer(key, ask)
        if not hit or data is None:
            return made[0]
        try:
            value: T = self._coding.decode(data)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the call can be made
            return await self._anew(key, call)
        course.source = "cache"
        course.notice(CacheHit, key=key)
        return value

    async def _anew(self, key: str, call: Call[T]) -> T:
        value = await call()
        data = self._coding.encode(value)
        if data is not None:
            await self._cached.keep(key, data)
        return value


class _Encoded(Cached[str, bytes]):
    """Outcomes of runs, as they are stored."""


class _Live(Cached[Hashable, tuple[Any]]):
    """Values of functions outside of runs."""


async def _kept_live(live: _Live, template: str | None, fn: Callable[..., Any], call: Call[T], course: Course, /) -> T:
    async def ask() -> tuple[Any]:
        return (await call(),)

    answer, hit = await live.answer(_key(template, fn, course.args, course.kwargs), ask)
    if hit:
        course.source = "cache"
        course.notice(CacheHit, key=course.name)  # the arguments, which are its key, may be anything
    assert answer is not None  # as ask() never returns None
    value: T = answer[0]
    return value


def _made_live(cache: Cache, clock: Clock) -> _Live:
    return _Live(Recent(clock, cache.size), seconds(cache.ttl), clock)


def _key(template: str | None, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
    """Return what tells calls apart. The function itself is in it, as its name is also that of others."""
    if template is not None:
        return fn, _rendered(template, _arguments(fn, args, kwargs))
    key = fn, _exact(args), tuple((name, _exact(value)) for name, value in sorted(kwargs.items()))
    try:
        hash(key)
    except TypeError as error:
        raise ConfigurationError(
            f"a cache cannot tell the arguments of {_name(fn)} apart: {error}",
            hint='say what tells them apart with key=, as in Cache("1h", key="{order.id}")',
            code="invalid-option",
        ) from None
    return key


_EXACT = frozenset((int, str, bytes, bool, type(None)))  # equal ones of one of these types are the same


def _exact(value: Any) -> Hashable:
    """Return what is equal for the same values of the same types only: 1, 1.0 and True are equal, and 0.0 and -0.0."""
    kind: type = type(value)
    if kind in _EXACT:
        return kind, value
    if isinstance(value, tuple):
        return kind, tuple(map(_exact, value))
    if isinstance(value, frozenset):
        return kind, frozenset(map(_exact, value))
    if isinstance(value, float | complex):
        return kind, repr(value)
    if is_dataclass(value):
        return kind, value, tuple(_exact(getattr(value, field.name)) for field in fields(kind) if field.compare)
    found: Hashable = kind, value
    return found


def _rendered(template: str, arguments: Mapping[str, Any]) -> Hashable:
    """Return the texts of the template's fields: apart, as joined ones could be equal for different values."""
    try:
        return tuple(
            _formatter.vformat(f"{{{field}{'!' if conversion else ''}{conversion or ''}:{spec}}}", (), arguments)
            for _, field, spec, conversion in _formatter.parse(template)
            if field is not None
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"key={template!r} of a cache does not fit the arguments {', '.join(arguments) or '(none)'}: {error!r}",
            hint='name parameters and their attributes, as in key="user:{user_id}"',
            code="invalid-option",
        ) from error


def _arguments(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    bound = signature(fn).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", repr(fn))
