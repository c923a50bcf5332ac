"""Owners: who this process is, which owners are certainly dead, and whose lease has lapsed."""

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from awaitly.persist.ports import Owner

_PROC = Path("/proc")
_DEAD_STATES = ("Z", "X", "x")


def this_owner() -> Owner:
    """Return a new owner that stands for the current process."""
    pid = os.getpid()
    process = _process(pid)
    return Owner(id=secrets.token_hex(8), host=_this_host(), pid=pid, started=process.started if process else "")


def provably_dead(owner: Owner) -> bool:
    """Whether ``owner`` is a process of this host that has ended: a zombie, gone, or its pid is another's now.

    False means alive or unknown: of another host's processes nothing can be proven.
    """
    if owner.host != _this_host() or owner.pid <= 0 or os.name != "posix":
        return False

    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process now: perhaps it got the pid of the owner

    process = _process(owner.pid)
    if process is None:  # not Linux, or hidden from this user
        return False
    return process.state in _DEAD_STATES or bool(owner.started and process.started != owner.started)


class Lapses:
    """Which leases have lapsed, by this process's own monotonic clock alone.

    Owners count beats when they renew. A lease has lapsed when its beats were seen to stay the same for its whole
    time to live, so clocks of different machines are never compared.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}

    def lapsed(self, owner: str, beats: int, ttl: float) -> bool:
        """Take note of an owner's beats, and say whether its lease is over."""
        now = self._monotonic()
        known = self._seen.get(owner)
        if known is None or known[0] != beats:
            self._seen[owner] = (beats, now)
            return False
        return now - known[1] >= ttl

    def forget(self, owner: str) -> None:
        """Drop what was seen of an owner that is gone."""
        self._seen.pop(owner, None)


def _this_host() -> str:
    """Return what only processes that share this one's table of pids have in common."""
    parts = [socket.gethostname()]
    for source in (_boot_id, _pid_namespace):
        try:
            parts.append(source())
        except OSError:  # not Linux, or not permitted: the name of the host must do
            parts.append("")
    return "/".join(parts)


def _boot_id() -> str:
    return _PROC.joinpath("sys", "kernel", "random", "boot_id").read_text("ascii").strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


class _Process(NamedTuple):
    state: str
    started: str  # in ticks since the boot


def _process(pid: int) -> _Process | None:
    """Return what Linux tells of a process; None elsewhere, and of one that is gone or hidden."""
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in brackets may hold spaces and brackets itself: what follows the last one is regular.
    fields = stat.rpartition(")")[2].split()
    return _Process(fields[0], fields[19])
