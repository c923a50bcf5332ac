"""Writes docs/errors.md: every code, where it comes from, what it means and what to do.

    python -m tests.docs.errors_page

The codes come from the error classes and the compiler's rules; the sentences that those do not have from errors.toml.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path

from awaitly import errors
from awaitly.compile.rules.registry import RULES
from awaitly.errors import AwaitlyError, RunSuspended

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "errors.md"

# Diagnostics of what could not even be read; they have no rule.
UNREADABLE = ("no-source", "source-changed")

INTRODUCTION = """\
# Errors

<!-- Written by tests/docs/errors_page.py: change the error, its rule or tests/docs/errors.toml, then run it. -->

Every error of awaitly has a code: the same in the exception (`error.code`), in what the compiler says, on the command
line and here. `error.docs_url` leads to its entry. Your own failures have none; see
[results and failures](results.md).

A message says what was found and where; `error.hint` says what to do instead:

```python
from awaitly import AwaitlyError, step

try:
    @step(efect="read")
    def price(item: str) -> int: ...
except AwaitlyError as error:
    print(error.code)
    print(error.hint)
#> unknown-option
#> did you mean 'effect'?
```
"""

AGAIN = """\
## What may be tried again

`error.retryable` says whether another attempt, later or in another process, may succeed where this one failed. It is
true of those below, and false of all others of awaitly's.
[Retries](policies.md#which-errors-are-retried) of steps go by it.
`Overloaded` and `ShuttingDown` are raised where a run is started: an HTTP client gets
[503 for them](shutdown.md#a-web-application).
"""

RAISED = """\
## Raised or returned

In italics: the class that has the code, from `awaitly.errors`.
"""

FOUND = """\
## Found by the compiler

An **error** refuses to run the workflow; a **warning** does not. Both are shown by `awaitly check` and are in
`workflow.graph.diagnostics`; warnings are also logged when the workflow is first used.
"""


SHOWN = """\
## Only on the command line
"""

# What the command line says itself; there is no class for it.
COMMAND_LINE = ("run-failed", "usage-error")


@dataclass(frozen=True, slots=True)
class Entry:
    """A code as the page lists it."""

    code: str
    source: str  # the class that has it, or how strong the diagnostic is
    meaning: str
    instead: str

    def __str__(self) -> str:
        return f"### `{self.code}`\n\n*{self.source}*: {self.meaning}\n\n**Do:** {self.instead}\n"


def classes() -> list[type[AwaitlyError] | type[RunSuspended]]:
    """Return every class that has codes, in the order of their definition."""
    own = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, AwaitlyError)]
    return [*own, RunSuspended]


def raised_codes() -> dict[str, type]:
    """Return every code that an exception may have, and its class."""
    return {code: cls for cls in classes() for code in getattr(cls, "codes", (cls.code,))}


def diagnostic_codes() -> dict[str, str]:
    """Return every code that the compiler finds, and how strong it is."""
    return {rule.code: rule.severity.value for rule in RULES} | dict.fromkeys(UNREADABLE, "error")


def said() -> Mapping[str, Mapping[str, str]]:
    """Return what errors.toml has, by code."""
    return tomllib.loads((HERE / "errors.toml").read_text(encoding="utf-8"))


def entries() -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Return the codes of exceptions, of the compiler, of the command line.

    One that is both an exception's and the compiler's is listed with the exceptions.

    Raises:
        LookupError: If errors.toml says nothing about a code.
    """
    texts = said()
    raised, found = raised_codes(), diagnostic_codes()
    if silent := {*raised, *found, *COMMAND_LINE} - texts.keys():
        raise LookupError(f"say in tests/docs/errors.toml what to do about {', '.join(sorted(silent))}")
    summaries = {rule.code: rule.summary for rule in RULES}

    def entry(code: str, source: str, meaning: str) -> Entry:
        return Entry(code, source, texts[code].get("meaning", meaning), texts[code]["instead"])

    first = [
        entry(
            code,
            f"`{cls.__name__}`" + (f" and compiler {found[code]}" if code in found else ""),
            _first_sentence(cls),
        )
        for code, cls in raised.items()
    ]
    second = [entry(code, strength, summaries.get(code, "")) for code, strength in found.items() if code not in raised]
    return first, second, [entry(code, "status 1 or 2", "") for code in COMMAND_LINE]


def _first_sentence(cls: type) -> str:
    return re.split(r"\n\n", getdoc(cls) or "")[0].replace("\n", " ")


def written() -> str:
    """Return the page."""
    return "\n".join(_parts())


def retryable() -> str:
    """Return the list of the errors that may be tried again."""
    again = [cls for cls in classes() if issubclass(cls, AwaitlyError) and cls.retryable]
    return "\n".join(f"- `{cls.__name__}`, [`{cls.code}`](#{cls.code})" for cls in again) + "\n"


def _parts() -> Iterator[str]:
    raised, found, shown = entries()
    yield INTRODUCTION
    yield AGAIN
    yield retryable()
    yield RAISED
    yield from map(str, raised)
    yield FOUND
    yield from map(str, found)
    yield SHOWN
    yield from map(str, shown)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
