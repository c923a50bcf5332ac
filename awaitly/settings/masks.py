"""What nobody shall read over a shoulder: secrets, by their names, and passwords in URLs."""

import re
from typing import Any

from awaitly.model.secrets import MASK, is_secret
from awaitly.settings.paths import Path
from awaitly.settings.sources import Origin, Place

_PARAMETER = re.compile(r"([?&;])([^=&;#]+)=([^&;#]*)")


def masked(path: Path, value: Any, origin: Origin | None) -> Any:
    """Return a setting's value as it may be shown; what is in the secrets directory is secret as it is."""
    if value is None:
        return None
    if origin is not None and origin.place is Place.SECRETS:
        return MASK
    # The names of flags are their authors': new_key is no secret.
    if path[0] != "flags" and is_secret(path[-1]):
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
    return f"{before}{name}={MASK if is_secret(name) else value}"
