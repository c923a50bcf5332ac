"""The page of the command line names everything that there is."""

from collections.abc import Iterator

import click
import pytest

from awaitly.cli import main
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_on_the_page_with_its_options(name: str) -> None:
    options = [option for option in COMMANDS[name].params if isinstance(option, click.Option)]

    assert f"## {name}" in PAGE or f"`{name}" in PAGE
    assert [option.opts[0] for option in options if option.opts[0] not in PAGE] == []
