"""What errors say, without the secrets that may be in it."""

import re
from collections.abc import Iterator

from awaitly.model.secrets import MASK, is_secret
from awaitly.settings.masks import without_password

LONGEST = 500  # characters of a message

# Messages are anybody's: each of these looks once at a word or a URL, not again from each of its characters.
_URL = re.compile(r"://[^\s'\"<>]++")
_CUT_URL = re.compile(_URL.pattern + r"\Z")
_NAME = re.compile(r"(?<![\w-])([\w-]++)['\"]?\s*+[=:]\s*+")
_VALUE = re.compile(r"(?:Bearer |Basic )?[^\s,;]+", re.IGNORECASE)


def public(text: str) -> str:
    """Return a message without passwords in URLs and values of what is secret by its name, and not too long."""
    if len(text) <= LONGEST:
        return _masked(text)
    # What is cut in the middle of a URL may be a password: the @ that would tell is behind the cut.
    begun = _CUT_URL.sub(f"://{MASK}", text[:LONGEST])
    return f"{_masked(begun)[:LONGEST]}..."


def _masked(text: str) -> str:
    return "".join(_pieces(_URL.sub(lambda found: without_password(found[0]), text)))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for name in _NAME.finditer(text):
        value = _VALUE.match(text, name.end()) if name.start() >= at and is_secret(name[1]) else None
        if value is not None:
            yield text[at : value.start()] + MASK
            at = value.end()
    yield text[at:]
