"""Shares of runs: who is in one depends on a name and the run's id alone, on every machine and in every Python.

The algorithm, for those who want to compute it elsewhere: the BLAKE2b hash (RFC 7693, 64 bytes, no key) of
``name:run-id`` in UTF-8; its first 8 bytes as an unsigned big-endian number, divided by 2**64, is the run's point from
0 up to 1. A run is in a share if its point is below it, so growing a share adds runs and removes none.
``printf %s 'new_flow:order:7' | b2sum`` begins with the same 8 bytes.
"""

import math
from collections.abc import Mapping
from hashlib import blake2b

_WHOLE = 2**64


def in_share(share: float, name: str, run_id: str) -> bool:
    """Return whether a run is in a share, from 0 (nobody) to 1 (everybody), of the runs that ``name`` shuffles."""
    return _point(name, run_id) < share * _WHOLE  # exact, where a point divided by 2**64 could be rounded up to 1


def picked(shares: Mapping[str, float], name: str, run_id: str) -> str | None:
    """Return which of several shares a run is in; None if in none of them.

    The shares lie behind one another in their order: growing the last one adds runs to it and moves no others.
    """
    weights = list(shares.values())
    for count, variant in enumerate(shares, start=1):
        if in_share(math.fsum(weights[:count]), name, run_id):
            return variant
    return None


def _point(name: str, run_id: str) -> int:
    return int.from_bytes(blake2b(f"{name}:{run_id}".encode()).digest()[:8], "big")
