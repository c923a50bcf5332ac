"""What the documentation shows is what happens: every block is executed."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import PAGES, ROOT, SHELLS, blocks_of
from tests.docs.playing import play, same

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(f"page_{page.stem.lower().replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    play(page, tmp_path, module)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_that_a_page_writes_is_used_by_a_command_after_it(page: Path) -> None:
    blocks = list(blocks_of(page))

    unused = [
        str(block)
        for number, block in enumerate(blocks)
        if block.title and block.language == "python"
        if not any(
            Path(block.title).stem in later.text
            for later in blocks[number + 1 :]
            if later.language in SHELLS and later.not_run is None
        )
    ]

    assert unused == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_names_its_language(page: Path) -> None:
    assert [str(block) for block in blocks_of(page) if not block.language] == []


def test_dots_stand_for_anything_in_a_line_and_alone_for_any_lines() -> None:
    same("it", ["a ... c", "...", "z"], ["a b c", "d", "e", "z"])


def test_seconds_and_spaces_may_differ() -> None:
    same("it", ["charge   12ms"], ["charge 1.04s"])


def test_other_words_are_a_difference() -> None:
    with pytest.raises(AssertionError, match="it prints\ncharged\n\nand the page says\nshipped"):
        same("it", ["shipped"], ["charged"])
