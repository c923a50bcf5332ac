"""What nobody shall read over a shoulder: secrets, by their names, and passwords in URLs."""

import re
from typing import Any

from awaitly.settings.paths import Path
from awaitly.settings.sources import Origin, Place

MASK = "***"

_SECRETS = ("secret", "token", "password", "passwd", "key", "headers", "credentials")
_PARAMETER = re.compile(r"([?&;])([^=&;#]+)=([^&;#]*)")


def masked(path: Path, value: Any, origin: Origin | None) -> Any:
    """Return a setting's value as it may be shown; what is in the secrets directory is secret as it is."""
    if value is None:
        return None
    if origin is not None and origin.place is Place.SECRETS:
        return MASK
    # The names of flags are their authors': new_key is no secret.
    if path[0] != "flags" and _is_secret(path[-1]):
        return MASK
    return without_password(value) if isinstance(value, str) and "://" in value else value


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
    return f"{before}{name}={MASK if _is_secret(name) else value}"


def _is_secret(name: str) -> bool:
    return any(word.endswith(_SECRETS) for word in re.split(r"[\W_]+", name.lower()))
