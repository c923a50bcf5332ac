"""Store URLs: which store one names, and with which options."""

from collections.abc import Callable
from typing import cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from awaitly.errors import StoreError
from awaitly.persist.ports import Store
from awaitly.persist.stores.memory import MemoryStore
from awaitly.persist.stores.sqlite import SqliteStore

ENTRY_POINTS = "awaitly.stores"

_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_DURABILITIES = {"full": False, "relaxed": True}


def store_from_url(url: str) -> Store:
    """Return the store that a URL names; nothing is opened yet.

    ``memory://``, ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a bare path that ends in ``.db``,
    ``.sqlite`` or ``.sqlite3``, or a scheme that an installed package registered under the entry-point group
    ``awaitly.stores`` as a function from URL to store. ``?durability=relaxed`` gives up the last commits before a
    power failure for speed.

    Raises:
        StoreError: ``not-a-store``, if it names none or has an option that the store does not know.
    """
    if "://" not in url and url.partition("?")[0].endswith(_SUFFIXES):
        url = f"sqlite:///{url}"
    parts = urlsplit(url)
    make = _OURS.get(parts.scheme) if "://" in url else None
    return make(url, parts) if make else _from_entry_point(url, parts.scheme)


def _memory(url: str, parts: SplitResult) -> Store:
    if parts.netloc or parts.path.strip("/") or parts.query:
        raise _refused(url, "takes neither a name nor options", "write memory://")
    return MemoryStore()


def _sqlite(url: str, parts: SplitResult) -> Store:
    if parts.netloc:
        raise _refused(url, f"names the host {parts.netloc!r}", f"write sqlite:///{parts.netloc}{parts.path}")
    path = unquote(parts.path.removeprefix("/"))
    if not path or path == ":memory:":
        raise _refused(url, "names no file", "write sqlite:///runs.db, or memory:// to store nothing")

    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    durability = options.pop("durability", "full")
    if durability not in _DURABILITIES:
        raise _refused(url, f"asks for the durability {durability!r}", "write durability=full or durability=relaxed")
    if options:
        raise _refused(url, f"has the unknown option {next(iter(options))!r}", "the only option is durability")
    return SqliteStore(path, relaxed=_DURABILITIES[durability])


_OURS: dict[str, Callable[[str, SplitResult], Store]] = {"memory": _memory, "sqlite": _sqlite}


def _from_entry_point(url: str, scheme: str) -> Store:
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    registered = entry_points(group=ENTRY_POINTS)
    for point in registered:
        if scheme and point.name == scheme:
            return cast(Callable[[str], Store], point.load())(url)

    known = ", ".join(f"{name}://" for name in (*_OURS, *sorted(registered.names)))
    found = f"has the unknown scheme {scheme!r}" if scheme else "has no scheme"
    raise _refused(url, found, f"known are {known} and paths that end in {', '.join(_SUFFIXES)}")


def _refused(url: str, found: str, hint: str) -> StoreError:
    return StoreError(f"the store URL {_public(url)!r} {found}", hint=hint, code="not-a-store")


def _public(url: str) -> str:
    """Return a URL without the password that it may hold."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}***@{host}" if at and credentials else url
