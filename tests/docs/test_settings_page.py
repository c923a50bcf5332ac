"""The page of settings is complete and up to date."""

from awaitly.settings.knobs import PATHS
from awaitly.settings.template import variable
from tests.docs.settings_page import PAGE, written


def test_the_reference_is_what_the_models_say() -> None:
    """`python -m tests.docs.settings_page` writes it."""
    page = PAGE.read_text(encoding="utf-8")

    assert page == written(page)


def test_every_setting_is_in_the_reference_with_its_meaning() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()

    missing = [
        knob.path
        for knob in PATHS.knobs
        if not any(line.startswith(f"| `{variable(knob)}` |") and knob.description in line for line in lines)
    ]

    assert missing == []
    assert all(knob.description.endswith(".") for knob in PATHS.knobs)
