"""What every request of these tests says, and how plain the connections are that it goes over."""

from typing import Any

from awaitly import current

PLAIN: Any = {"timeout": None, "verify": False, "trust_env": False}  # time is the policies' matter; no TLS here


def headers() -> dict[str, str]:
    """Return what each request says of the call that it is for."""
    call = current()
    assert call.idempotency_key is not None  # outside of a run it would be
    return {
        "Idempotency-Key": call.idempotency_key,
        "X-Attempt": str(call.attempt),
    }
