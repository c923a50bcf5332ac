"""Places in source text as people at a terminal read them: from the folder in which they are."""

import re
from pathlib import Path


def shortened(text: str) -> str:
    """Return text with every ``/path/to/file.py:12`` in or below the current folder named from there."""
    return _PLACE.sub(lambda found: relative(found[1]) + found[2], text)


def relative(file: str) -> str:
    """Return a file's name from the current folder if it is below, or else as it is."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


_PLACE = re.compile(r"((?<![\w./\\-])(?:[A-Za-z]:\\|/)[^\n:\"']*\.py)(:\d+)")
