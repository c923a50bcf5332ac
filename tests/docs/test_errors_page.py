"""The page of errors is complete and up to date."""

import ast
from pathlib import Path

import awaitly
from awaitly.errors import AwaitlyError
from tests.docs.errors_page import COMMAND_LINE, PAGE, diagnostic_codes, entries, raised_codes, said, written

KNOWN = {*raised_codes(), *diagnostic_codes(), *COMMAND_LINE}


def codes_in_source() -> set[str]:
    """Return every text that the package's source gives as `code=`."""
    found: set[str] = set()
    for module in Path(awaitly.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
    return found


def test_the_page_is_what_the_code_says() -> None:
    """`python -m tests.docs.errors_page` writes it."""
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_code_of_the_source_is_on_the_page() -> None:
    assert codes_in_source() - KNOWN == set()


def test_nothing_is_said_about_codes_that_do_not_exist() -> None:
    assert set(said()) - KNOWN == set()


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    assert [entry.code for part in entries() for entry in part if not (entry.meaning and entry.instead)] == []


def test_an_error_leads_to_its_entry() -> None:
    # A heading's anchor is its text: `store-full` stays as it is, in MkDocs and on GitHub.
    anchors = [line[5:-1] for line in written().splitlines() if line.startswith("### `")]

    error = AwaitlyError("it broke", code="store-full")

    assert error.docs_url.partition("#")[2] in anchors
    assert sorted(anchors) == sorted(KNOWN)
