"""The identities of calls, as text: read and written here only.

``gather#0.2/charge#1.3`` is the branches, the call site, the occurrence; ``charge[order:7]`` a call with a key.
"""

import re
from dataclasses import dataclass

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


def idempotency_key(run: str, identity: str) -> str:
    """Return what no other work has: the run's id, in which ``/`` is written ``%2F``, and the call's identity."""
    return f"{run.replace('%', '%25').replace('/', '%2F')}/{identity}"


@dataclass(frozen=True, slots=True)
class Place:
    """An identity taken apart: the branches that lead to a call, from the outside in, and the call in the last one.

    Branches and sites have the form ``(combinator, callee, occurrence)``: ``each#0>task.2`` is the third task of the
    first ``each``, ``charge#1`` has no combinator, ``>task`` none that is known.
    """

    branches: tuple[tuple[str, str, int], ...]
    site: tuple[str, str, int]
    key: str | None = None


def place_of(identity: str) -> Place:
    """Return the parts of an identity; a call with a key belongs to no branch."""
    if identity.endswith("]"):
        step, _, key = identity[:-1].partition("[")
        return Place((), ("", step, 0), key)
    *branches, site = map(_segment, identity.split("/"))
    return Place(tuple(branches), site)


def _segment(text: str) -> tuple[str, str, int]:
    number = _OCCURRENCE.search(text)
    site = text[: number.start()] if number else text
    combinator, _, callee = site.rpartition(">")
    return combinator, callee, int(number.group()[1:]) if number else 0
