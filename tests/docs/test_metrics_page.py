"""The page of metrics is complete and up to date."""

import pytest

from awaitly.observe.instruments import INSTRUMENTS, Instrument
from awaitly.observe.prometheus import Exposition
from tests.docs.metrics_page import PAGE, in_prometheus, written
from tests.observe.test_prometheus import busy


def test_the_reference_is_what_the_table_says() -> None:
    """`python -m tests.docs.metrics_page` writes it."""
    page = PAGE.read_text(encoding="utf-8")

    assert page == written(page)


@pytest.mark.parametrize("row", INSTRUMENTS, ids=lambda row: row.name)
def test_every_description_is_a_sentence(row: Instrument) -> None:
    assert row.description.endswith(".")


def test_the_names_in_prometheus_are_those() -> None:
    exposition = Exposition()
    busy(exposition)
    text = exposition.render()[0].decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE awaitly_")}
    exposition.close()

    assert shown - {in_prometheus(row) for row in INSTRUMENTS} == set()
    assert len(shown) > 10
