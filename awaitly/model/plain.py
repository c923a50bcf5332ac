"""Stored values as plain JSON, read without the code that stored them.

The codec leaves marks in its JSON where JSON has no such type; they are dropped here, and nothing is ever imported.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from awaitly.texts import valid

_NAMED = "#"  # "#set" and its like: how a model is put together again
_LARGE = 4096  # bits: many who read JSON refuse numbers of so many digits, and Python does not write larger ones
_DEEPEST = 50


def value_of(payload: bytes) -> Any:
    """Return a stored value as plain JSON; what is not JSON comes back as text."""
    try:
        return _plain(json.loads(payload))
    except ValueError:
        return payload.decode(errors="replace")


def brief(value: Any, width: int = 72) -> str:
    """Return plain JSON on one line of at most ``width`` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"


def jsonable(value: Any, *around: int) -> Any:
    """Return what valid JSON can be written of, whatever ``value`` is; ``around`` are the ids of what it is in."""
    match value:
        case None | bool():
            return value
        case str():
            return valid(value)
        case int():
            return value if value.bit_length() < _LARGE else hex(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping() | list() | tuple() if id(value) in around or len(around) > _DEEPEST:
            return "..."
        case Mapping():
            return {_text(key): jsonable(held, id(value), *around) for key, held in value.items()}
        case list() | tuple():
            return [jsonable(each, id(value), *around) for each in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        return valid(str(value))
    except Exception:  # noqa: BLE001 - the __str__ of whatever it is
        return f"<no text: the __str__ of {type(value).__qualname__} failed>"


def _plain(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_plain(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((tag, held),) = tree.items()
        if tag == "$dict" and isinstance(held, list):
            return {_key(_plain(key)): _plain(value) for key, value in held}
        if tag.startswith("$"):
            return _plain(held)
    return {key: _plain(held) for key, held in tree.items() if not key.startswith(_NAMED)}


def _key(value: Any) -> str:
    return value if isinstance(value, str) else brief(value)
