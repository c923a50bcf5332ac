"""Stored values as plain JSON, read without the code that stored them.

The codec leaves marks in its JSON where JSON has no such type; they are dropped here, and nothing is ever imported.
"""

import json
from typing import Any

_NAMED = "#"  # "#set" and its like: how a model is put together again


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
