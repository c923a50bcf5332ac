"""Text from outside, made fit to be written anywhere."""

from typing import TypeGuard

NAMED = "give a string that is not empty, of valid Unicode"
"""What to do instead of giving a name that is none."""


def valid(text: str) -> str:
    r"""Return text that can be encoded: what stands for no character in it is escaped, as in ``caf\udce9``.

    Such text comes of file names and arguments that are no UTF-8 (``os.fsdecode``).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def named(text: object) -> TypeGuard[str]:
    """Whether ``text`` can be a name: it is a string, not blank, and can be stored and sent."""
    return isinstance(text, str) and bool(text.strip()) and valid(text) == text
