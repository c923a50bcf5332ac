"""Dates, times of day, points in time and spans, exactly: fold and the kind of time zone included."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import TzInfo

from awaitly.persist.codec.node import Misfit, Node, Tree, describe, wrong
from awaitly.persist.codec.scalars import scalar

_MICROSECOND = timedelta(microseconds=1)


def _zone_to_tree(zone: tzinfo) -> Tree:
    if type(zone) is ZoneInfo and zone.key is not None:
        return ["zone", zone.key]
    if type(zone) is timezone:
        # Only what its pickle consists of tells a name that was given from one that was made.
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return ["offset", offset // _MICROSECOND, *name]
    if type(zone) is TzInfo:
        offset = zone.utcoffset(None)
        return ["pydantic", int(offset.total_seconds()) if offset else 0]
    raise Misfit(
        f"expected a time zone that can be stored, found {describe(zone)}", "Use zoneinfo.ZoneInfo or datetime.timezone"
    )


def _zone_from_tree(tree: Tree) -> tzinfo:
    match tree:
        case ["zone", str(key)]:
            try:
                return ZoneInfo(key)
            except ZoneInfoNotFoundError as error:
                raise Misfit(f"the time zone {key!r} is not known here", "Install the package tzdata") from error
        case ["offset", int(microseconds)]:
            return timezone(timedelta(microseconds=microseconds))
        case ["offset", int(microseconds), str(name)]:
            return timezone(timedelta(microseconds=microseconds), name)
        case ["pydantic", int(seconds)]:
            return TzInfo(seconds)
    raise wrong("a stored time zone", tree)


def _timed(cls: type[datetime] | type[time], parse: Callable[[str], Any]) -> Node:
    name = cls.__name__

    def to_tree(value: Any) -> Tree:
        if type(value) is not cls:
            raise wrong(name, value, f"Return a plain {name}" if isinstance(value, cls) else None)
        zone = value.tzinfo
        if (zone is None or zone is UTC) and not value.fold:
            return value.isoformat()
        return [value.replace(tzinfo=None).isoformat(), value.fold, None if zone is None else _zone_to_tree(zone)]

    def from_tree(tree: Tree) -> Any:
        try:
            if type(tree) is str:
                return parse(tree)
            if type(tree) is list and len(tree) == 3 and type(tree[0]) is str and type(tree[1]) is int:
                text, fold, zone = tree
                return parse(text).replace(tzinfo=None if zone is None else _zone_from_tree(zone), fold=fold)
        except (ValueError, OverflowError, TypeError) as error:
            raise wrong(f"a stored {name}", tree) from error
        raise wrong(f"a stored {name}", tree)

    return Node(name, (cls,), frozenset({str, list}), to_tree, from_tree, immutable=True)


MOMENTS: dict[type, Node] = {
    datetime: _timed(datetime, datetime.fromisoformat),
    time: _timed(time, time.fromisoformat),
    date: scalar(date, date.isoformat, date.fromisoformat),
    timedelta: scalar(timedelta, lambda value: value // _MICROSECOND, lambda count: timedelta(microseconds=count), int),
}
