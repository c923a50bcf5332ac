"""Names that people type, and the ones that they meant."""

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches
from typing import TypeVar

T = TypeVar("T")

_OTHER = re.compile(r"[\W_]+")


def spelt(name: str) -> str:
    """Return a name as it is compared, in settings and elsewhere: ``New-Payment.Flow`` is ``new_payment_flow``.

    Case does not count, and whatever cannot stand in the name of a variable is one underscore.
    """
    return _OTHER.sub("_", name.casefold())


def overlaid(*layers: Mapping[str, T]) -> dict[str, T]:
    """Return named values of which the last ones count, however they are spelt: with their spelling, and one for each.

    ``overlaid({"new-flow": 1}, {"NEW_FLOW": 2})`` is ``{"NEW_FLOW": 2}``.
    """
    found = {spelt(name): (name, value) for layer in layers for name, value in layer.items()}
    return dict(found.values())


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `name` was probably meant to be, if any; case and `_` against `-` do not count."""
    by_form = {_form(candidate): candidate for candidate in candidates}
    matches = get_close_matches(_form(name), by_form, n=1)
    return by_form[matches[0]] if matches else None


def by_nearness(name: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates in the order of their likeness to `name`, those of the same likeness by the alphabet."""
    form = _form(name)
    return sorted(candidates, key=lambda each: (-SequenceMatcher(None, form, _form(each)).ratio(), each))


def _form(name: str) -> str:
    return name.casefold().replace("_", "-")
