"""What nobody shall read over a shoulder: secrets, by their names, and passwords in URLs."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from awaitly.model.secrets import MASK, is_secret
from awaitly.settings.paths import Path
from awaitly.settings.sources import Origin, Place

_PARAMETER = re.compile(r"([?&;])([^=?&;#]++)=([^&;#]*)")


def masked(path: Path, value: Any, origin: Origin | None) -> Any:
    """Return a setting's value as it may be shown; what is in the secrets directory is secret as it is."""
    if value is None:
        return None
    if origin is not None and origin.place is Place.SECRETS:
        return MASK
    # The names of flags are their authors': new_key is no secret.
    if path[0] != "flags" and is_secret(path[-1]):
        return MASK
    if path == ("store",) and not isinstance(value, str | int | float):
        return MASK  # a password may be any part of what is no URL
    return _masked_in(value)


def hidden(value: Any, path: Path, origins: Mapping[Path, Origin]) -> Any:
    """Return a setting, or a table of them, as it may be shown; the secrets of a table are masked in a copy of it."""
    match value:
        case BaseModel():
            held = {name: getattr(value, name) for name in type(value).model_fields}
            return value.model_copy(update={name: hidden(each, (*path, name), origins) for name, each in held.items()})
        case dict() if len(path) == 1:
            return {name: hidden(each, (*path, name), origins) for name, each in value.items()}
        case _:
            return masked(path, value, origins.get(path))


def _masked_in(value: Any) -> Any:
    """Return a value, of whatever type somebody gave, without the passwords in it."""
    match value:
        case str():
            return without_password(value) if "://" in value else value
        case Mapping():
            return {name: MASK if is_secret(str(name)) else _masked_in(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked_in(each) for each in value]
        case bool() | int() | float():
            return value
        case _:
            return MASK if "://" in str(value) else value


def without_password(url: str) -> str:
    """Return a URL without the passwords in it."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if at and colon:
        rest = f"{user}:{MASK}@{place}"
    return scheme + separator + _PARAMETER.sub(_parameter, rest)


def _parameter(found: "re.Match[str]") -> str:
    before, name, value = found.groups()
    return f"{before}{name}={MASK if is_secret(name) else value}"
