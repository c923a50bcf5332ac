from typing import Any

from rich.console import Console

from awaitly.cli.pictures import line, picture, waiting_line
from awaitly.render.rows import Count, Kind, Pause, Phase, Row


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


def call(**more: Any) -> Row:
    return Row(kind=Kind.STEP, label="charge", began=99.0, **more)


def test_a_call_between_two_attempts_counts_down() -> None:
    waiting = call(phase=Phase.OPEN, attempts=2, pause=Pause(error="OSError: refused", due=101.2))

    assert drawn(waiting)[0].split(maxsplit=2)[2] == "attempt 2, retry in 1.2s  OSError: refused"
    assert str(waiting_line(waiting, ("each", "charge"), 100.0)) == (
        "waiting    each / charge  attempt 2, retry in 1.2s  OSError: refused"
    )


def test_a_call_that_is_done_says_what_its_policies_did() -> None:
    ended = call(phase=Phase.DONE, attempts=3, seconds=2.0, remarks=("waited 1s for limiter stripe", "as charge_v2"))

    assert " ".join(drawn(ended)[0].split()) == "✓ charge 2s 3 attempts waited 1s for limiter stripe as charge_v2"
    assert str(line(ended, ("charge",))) == (
        "ok         charge  2s  3 attempts  waited 1s for limiter stripe  as charge_v2"
    )
