"""What errors say, without the secrets that may be in it."""

import re
from collections.abc import Iterator

from awaitly.model.secrets import MASK, is_secret
from awaitly.settings.masks import without_password

LONGEST = 500  # characters of a message

_URL = re.compile(r"[a-zA-Z][\w+.-]*://[^\s'\"<>]+")
_NAME = re.compile(r"([\w-]+)['\"]?\s*[=:]\s*")
_VALUE = re.compile(r"(?:Bearer |Basic )?[^\s,;]+", re.IGNORECASE)


def public(text: str) -> str:
    """Return a message without passwords in URLs and values of what is secret by its name, and not too long."""
    text = "".join(_pieces(_URL.sub(lambda found: without_password(found[0]), text)))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for name in _NAME.finditer(text):
        value = _VALUE.match(text, name.end()) if name.start() >= at and is_secret(name[1]) else None
        if value is not None:
            yield text[at : value.start()] + MASK
            at = value.end()
    yield text[at:]
