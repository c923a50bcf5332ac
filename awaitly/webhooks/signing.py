"""Signatures of what is delivered: the receiver knows who sent it, that it is whole, and that it is not an old one.

The header ``Awaitly-Signature`` is ``t=SECONDS,v1=HEX``: the time of the attempt, and the HMAC-SHA256 of the same
seconds, a dot and the body. It has several ``v1=`` while a secret is being replaced by another.
"""

import hmac
import time
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from awaitly.model.durations import Duration, seconds

SIGNATURE = "Awaitly-Signature"

Secret: TypeAlias = str | Iterable[str]
"""One secret, or several of which any will do."""


def sign(body: bytes, secret: Secret, *, at: float) -> str:
    """Return the header for a body that is sent at a time (seconds since the epoch)."""
    digests = ",".join(f"v1={_digest(body, each, int(at))}" for each in _each(secret))
    return f"t={int(at)},{digests}"


def verify(
    body: bytes, header: str | None, secret: Secret, tolerance: Duration = "5m", *, now: float | None = None
) -> bool:
    """Return whether a body was sent by somebody who has the secret, and not long ago.

    Args:
        body: As it arrived, byte for byte: not parsed and written again.
        header: The header ``Awaitly-Signature``.
        secret: The secret of the outbox, or several of which any will do.
        tolerance: By how much the time of the attempt may differ from this machine's: a duration.
        now: The time, in seconds since the epoch; default: this machine's.
    """
    found = [part.strip().partition("=") for part in (header or "").split(",")]
    times = [value for name, _, value in found if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()) or len(times[0]) > 15:
        return False
    at = int(times[0])
    expected = [_digest(body, each, at).encode() for each in _each(secret)]
    given = [value.encode() for name, _, value in found if name == "v1"]
    # All are compared, so that the time that it takes says nothing.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    age = abs((time.time() if now is None else now) - at)
    return any(matches) and age <= seconds(tolerance, what="tolerance of verify()")


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), b"%d.%b" % (at, body), "sha256").hexdigest()


def _each(secret: Secret) -> Iterator[str]:
    yield from (secret,) if isinstance(secret, str) else secret
