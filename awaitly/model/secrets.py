"""What is secret by its name, and values without their secrets."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

MASK = "***"

Redact: TypeAlias = Callable[[str, Any], Any]
"""Gets the name of a value and the value; returns what may be seen of it."""

_WORDS = (
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "key",
    "headers",
    "dsn",
    "credential",
    "authorization",
    "cookie",
)
_SECRETS = (*_WORDS, *(f"{word}s" for word in _WORDS))


def is_secret(name: str) -> bool:
    """Return whether what has this name is a secret: one of its words ends like one, as in ``api_keys``."""
    return any(word.endswith(_SECRETS) for word in re.split(r"[\W_]+", name.lower()))


def redacted(value: Any, redact: Redact | None = None, name: str = "") -> Any:
    """Return plain JSON with a mask in place of its secrets; ``redact`` decides about what is none by its name.

    What ``redact`` fails at is masked.
    """
    if is_secret(name):
        return MASK
    if redact is not None:
        try:
            value = redact(name, value)
        except Exception:  # noqa: BLE001 - foreign code; what it could not look at is not shown
            return MASK
    if isinstance(value, dict):
        return {key: redacted(held, redact, str(key)) for key, held in value.items()}
    if isinstance(value, list):
        return [redacted(held, redact, name) for held in value]
    return value
