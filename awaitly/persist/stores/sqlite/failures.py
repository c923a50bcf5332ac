"""SQLite's errors in our words: the one place where they are translated."""

import os
import sqlite3
from pathlib import Path

from awaitly.errors import StoreCode, StoreError

_KNOWN: dict[int, tuple[StoreCode, str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "store-unavailable",
        "another process has locked it for too long",
        "look for a program that holds a transaction open on this file, and try again",
    ),
    sqlite3.SQLITE_READONLY: (
        "store-read-only",
        "it cannot be written",
        "make the file and its directory writable for this user, or name another file",
    ),
    sqlite3.SQLITE_FULL: (
        "store-full",
        "there is no space left to write to",
        "free space on the disk and try again: what was stored is kept, and runs can be resumed",
    ),
    sqlite3.SQLITE_NOTADB: (
        "not-a-store",
        "the file is not an SQLite database",
        "name another file; this one was left as it is",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "store-corrupt",
        "the database is damaged",
        "restore it from a backup, or save what is readable with 'sqlite3 FILE .recover'",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "store-unavailable",
        "the file cannot be opened",
        "see that its directory exists and that this user may create files in it",
    ),
}
_OTHERWISE: tuple[StoreCode, str, str] = (
    "store-unavailable",
    "SQLite reports an error",
    "try again: appends that may have been stored are harmless to repeat",
)


def busy(error: sqlite3.Error) -> bool:
    """Whether another connection has a lock, so that trying again may help."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


def translated(error: sqlite3.Error, name: str, path: str) -> StoreError:
    """Return what is raised to callers instead of ``error``."""
    code = _code(error)
    if code == sqlite3.SQLITE_PROTOCOL:  # busy too, when many begin at the same instant
        code = sqlite3.SQLITE_BUSY
    if code == sqlite3.SQLITE_IOERR and _no_space(path):
        code = sqlite3.SQLITE_FULL
    if code == sqlite3.SQLITE_CANTOPEN and not _writable(path):
        code = sqlite3.SQLITE_READONLY

    slug, found, hint = _KNOWN.get(code, _OTHERWISE)
    return StoreError(f"{name}: {found} ({error})", code=slug, hint=hint)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells apart what makes no difference here


def _writable(path: str) -> bool:
    """Whether the file, or without one its directory, may be written; SQLite says only that it could not open it."""
    file = Path(path)
    return os.access(file if file.exists() else file.parent, os.W_OK)


def _no_space(path: str) -> bool:
    try:
        disk = os.statvfs(Path(path).parent)
    except (OSError, AttributeError):  # AttributeError: not a POSIX system
        return False
    return disk.f_bavail == 0
