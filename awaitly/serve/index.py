"""The page for people that leads to all others."""

from collections.abc import Iterable
from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>awaitly</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem; }}
  dt {{ font-family: ui-monospace, monospace; margin-top: 1rem; }}
  dd {{ margin: 0; opacity: .75; }}
  :root {{ color-scheme: light dark; }}
</style>
<h1>awaitly</h1>
<dl>
{entries}
</dl>
</html>
"""


def index(entries: Iterable[tuple[str, str]]) -> str:
    """Return the page, given paths and what is there. Its links are relative: it may be mounted anywhere."""
    return _PAGE.format(entries="\n".join(_entry(path, says) for path, says in entries))


def _entry(path: str, says: str) -> str:
    where = escape(path.removeprefix("/"))
    return f'<dt><a href="{where}">/{where}</a></dt>\n<dd>{escape(says)}</dd>'
