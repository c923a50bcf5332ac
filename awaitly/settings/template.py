"""A commented list of every environment variable, to copy from."""

from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from awaitly.settings.effective import UNSET, default
from awaitly.settings.knobs import PATHS
from awaitly.settings.paths import Knob
from awaitly.settings.sources import Place, spelling

_WIDTH = 100

_BEGINNING = """\
# awaitly's settings as environment variables. All of them are optional; this file changes nothing as it stands.
#
# <STEP>, <BREAKER>, <LIMITER>, <WORKFLOW> and <FLAG> stand for names from your code: in upper case, with _ for
# whatever cannot stand in the name of a variable. __ leads from a table to what is in it.
"""


def template() -> str:
    """Return every setting as a commented line of a ``.env``, with its meaning, what is allowed, and its default."""
    return "\n".join(_lines())


def variable(knob: Knob) -> str:
    """Return a setting's environment variable."""
    return spelling(knob.path, Place.ENVIRONMENT)


def _lines() -> Iterator[str]:
    yield _BEGINNING
    for _, group in groupby(PATHS.knobs, key=lambda knob: knob.path[0]):
        for knob in group:
            yield from _entry(knob)
    yield from ("# Shows tracebacks on the command line.", "# Allowed: 0 or 1. Default: 0", "# AWAITLY_DEBUG=0", "")


def _entry(knob: Knob) -> Iterator[str]:
    normal = default(knob)
    text = f"{knob.description} Allowed: {knob.allowed}. Default: {'none' if normal == UNSET else normal}"
    yield from wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    yield f"# {variable(knob)}={normal if not knob.named and normal != UNSET else ''}"
    yield ""
