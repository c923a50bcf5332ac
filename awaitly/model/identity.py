"""The identities of calls, as text: read and written here only.

``gather#0.2/charge#1.3`` is the branches, the call site, the occurrence; ``charge[order:7]`` a call with a key.
"""

import re

_OCCURRENCE = re.compile(r"\.\d+$")


def place(prefix: str, site: str, occurrence: int) -> str:
    """Return the identity of a call without a key; the first occurrence is not written."""
    return f"{prefix}{site}.{occurrence}" if occurrence else f"{prefix}{site}"


def keyed(step: str, key: str) -> str:
    """Return the identity of a call with a key."""
    return f"{step}[{key}]"


def site_of(identity: str) -> str | None:
    """Return the call site of an identity; None for one with a key, which belongs to no place."""
    if identity.endswith("]"):
        return None
    return _OCCURRENCE.sub("", identity.rpartition("/")[2])
