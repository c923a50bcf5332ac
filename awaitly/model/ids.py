"""Ids of runs and owners: what is allowed in them, and how the ones that nobody chose are made."""

import re
import secrets

from awaitly.errors import UsageError

_RUN_ID = re.compile(r"[^\x00-\x1f\x7f]{1,512}")


def new_run_id(workflow: str) -> str:
    """Return an id for a run of ``workflow`` that was given none."""
    return f"{workflow}:{secrets.token_hex(8)}"


def checked_run_id(text: str) -> str:
    """Return ``text`` if it can be the id of a run.

    Raises:
        UsageError: ``run-id-invalid``, if it is empty, longer than 512 characters or holds control characters.
    """
    if not isinstance(text, str) or _RUN_ID.fullmatch(text) is None or not text.isprintable():
        raise UsageError(
            f"{text!r} cannot be the id of a run",
            hint="use 1 to 512 printable characters, for example 'order:1042'",
            code="run-id-invalid",
        )
    return text
