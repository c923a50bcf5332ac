"""The code blocks of Markdown pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELLS = ("console", "bash")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. A block with a title is a file of that name."""

    page: Path
    line: int  # of its first line of text
    language: str
    title: str | None
    text: str
    not_run: str | None  # why not, from the comment `<!-- not run: reason -->` before it

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a shell block, and what the page says that it prints."""

    text: str
    output: list[str]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    source = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(source):
        language, _, rest = fence["info"].strip().partition(" ")
        title = _TITLE.search(rest)
        before = _NOT_RUN.search(source[: fence.start()])
        yield Block(
            page=page,
            line=source.count("\n", 0, fence.start()) + 2,
            language=language,
            title=title[1] if title else None,
            text="".join(line.removeprefix(fence["indent"]) for line in fence["text"].splitlines(keepends=True)),
            not_run=before[1] if before else None,
        )


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a shell block: in ``console`` those after a ``$``, in ``bash`` all lines at once."""
    if block.language == "bash":
        return [Command(block.text, ["..."])]
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line.removeprefix("$ "), []))
        else:
            commands[-1].output.append(line)
    return commands
