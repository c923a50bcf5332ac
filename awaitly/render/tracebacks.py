"""Stored tracebacks without the frames between a run and the code that it called, which tell nobody anything."""

import re
from collections.abc import Iterator
from pathlib import Path

_FRAME = re.compile(r'(?P<indent>[ |]*)File "(?P<file>[^"]*)", line \d+')
_HEAD = re.compile(r"[ |+]*(?:Exception Group )?Traceback \(most recent call last\):")
# By name, as the traceback may come from another machine.
_PARTS = sorted(path.name for path in Path(__file__).parents[1].iterdir() if not path.name.startswith("_"))
_OWN = re.compile(rf"[/\\]awaitly[/\\](?:{'|'.join(map(re.escape, _PARTS))})(?:[/\\]|$)")


def without_own_frames(traceback: str) -> str:
    """Return a traceback without awaitly's own frames, and without the heading of one that has no others."""
    return "\n".join(_without_empty(list(_foreign(traceback.splitlines()))))


def _foreign(lines: list[str]) -> Iterator[str]:
    below: str | None = None  # how what belongs to the frame that is left out begins
    for line in lines:
        frame = _FRAME.match(line)
        if frame is not None:
            below = f"{frame['indent']}  " if _OWN.search(frame["file"]) else None
        elif below is not None and not line.startswith((below, f"{below[:-2]}[Previous line repeated")):
            below = None
        if below is None:
            yield line


def _without_empty(lines: list[str]) -> Iterator[str]:
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not _HEAD.match(line) or _FRAME.match(following) or following.lstrip(" |").startswith("..."):
            yield line
