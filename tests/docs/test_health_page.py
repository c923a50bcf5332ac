"""The page about health names every page, every field and every reason that there is."""

import re
from typing import Any

import pytest

from awaitly.execute import vitals
from awaitly.execute.probe import Answer
from awaitly.execute.standing import Outgoing
from awaitly.execute.vitals import Phase, Readiness, Reason, State
from awaitly.model.facts import Ending
from awaitly.observe.health import LastError, Report
from awaitly.policies.circuit import Snapshot
from awaitly.policies.turns import LimiterSnapshot
from awaitly.serve import documents
from awaitly.serve.application import PAGES
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")

REPORT = Report(
    ended={Ending.VALUE: 1}, latest=1, success_rate=1.0, average=1.0, p95=1.0, last_error=LastError("OSError", 0)
)  # fmt: skip
DOCUMENTS = {
    "problem": documents.problem("not-found", "nothing", "look elsewhere"),
    "readiness": documents.readiness(Readiness(False, (Reason("not-open", "not open"),))),
    "health": documents.health(
        {"store": Answer(1.0, "OSError", "gone")}, State(phase=Phase.OPEN, outboxes={"billing": Outgoing()})
    ),
    "workflows": documents.workflows([], {"order": REPORT}, {}),
    "circuits": documents.circuits({"bank": Snapshot("closed", 0, 0, None)}),
    "limiters": documents.limiters([LimiterSnapshot("calls", 1, 1.0, 1, 0)]),
}


def fields(value: Any) -> set[str]:
    """Return the names of all fields in a document."""
    match value:
        case dict():
            return set(value) | {name for each in value.values() for name in fields(each)}
        case list():
            return {name for each in value for name in fields(each)}
        case _:
            return set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_field_is_explained(document: str) -> None:
    words = {word for code in re.findall(r"`([^`\n]+)`", PAGE) for word in re.split(r"[^\w-]+", code)}

    assert fields(DOCUMENTS[document]) - words == set()


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_every_page_is_listed(path: str) -> None:
    assert f"| `{path}` |" in PAGE


def test_every_reason_for_not_being_ready_is_listed() -> None:
    source = (ROOT / vitals.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'Reason\("([a-z-]+)"', source))

    assert codes
    assert {code for code in codes if f"| `{code}` |" not in PAGE} == set()
