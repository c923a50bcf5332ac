from rich.console import Console

from awaitly.cli.pictures import picture
from awaitly.render.rows import Count, Kind, Phase, Row


def drawn(row: Row) -> list[str]:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(picture(row, 100.0))
    return [line.rstrip() for line in captured.get().splitlines()]


def each(finished: int, total: int | None, phase: Phase = Phase.OPEN) -> Row:
    group = Row(
        kind=Kind.GROUP, label="each charge", phase=phase, count=Count(finished=finished, failed=0, total=total)
    )
    return Row(kind=Kind.RUN, label="checkout", phase=Phase.OPEN, rows=(group,))


def test_an_each_has_a_bar_and_its_total() -> None:
    assert drawn(each(3, 12))[1].split(maxsplit=4)[3:] == ["charge", "━━━━━━" + " " * 19 + "3/12"]


def test_an_each_without_items_has_no_bar() -> None:
    assert drawn(each(0, 0, Phase.DONE))[1].split() == ["└─", "✓", "each", "charge", "0/0"]
