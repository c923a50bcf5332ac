"""Who is in a share is the same everywhere, fair, and stays when the share grows."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from awaitly.flags.shares import _point, in_share, picked

fractions = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]))
RUNS = [f"order:{number}" for number in range(20_000)]


def test_the_point_of_a_run_is_the_beginning_of_a_published_hash() -> None:
    """`printf %s 'new_payment_flow:order:7' | b2sum` and so on: these numbers never change."""
    assert _point("new_payment_flow", "order:7") == 0x93E2C5A81BFEED42
    assert _point("new_payment_flow", "order:8") == 0x8E6FCEF117BB62A1
    assert _point("new_payment_flow", "bestellung:größe") == 0x77896663DDD7FF6E
    assert _point("spring-2025", "order:7") == 0x3CEB1F918F07397E


def test_the_same_runs_are_in_a_share_for_ever() -> None:
    runs = [f"order:{number}" for number in range(24)]

    assert [run for run in runs if in_share(0.25, "new_payment_flow", run)] == ["order:11", "order:20", "order:23"]


def test_the_same_runs_have_the_same_variants_for_ever() -> None:
    shares = {"v2": 0.2, "v3": 0.3}

    assert [picked(shares, "algorithm", f"order:{number}") for number in range(12)] == [
        None, None, None, "v2", "v2", None, None, "v2", "v3", None, "v2", None,
    ]  # fmt: skip


@given(share=fractions, other=fractions, name=texts, run=texts)
def test_growing_a_share_only_adds_runs(share: float, other: float, name: str, run: str) -> None:
    small, large = sorted((share, other))

    assert in_share(small, name, run) <= in_share(large, name, run)


@given(name=texts, run=texts)
def test_nobody_is_in_a_share_of_nothing_and_everybody_in_the_whole(name: str, run: str) -> None:
    assert not in_share(0.0, name, run)
    assert in_share(1.0, name, run)
    assert picked({"a": 0.0, "b": 0.7, "c": 0.2, "d": 0.1}, name, run) in {"b", "c", "d"}


@given(before=st.lists(st.floats(0, 0.2), max_size=3), last=st.floats(0, 0.4), more=st.floats(0, 0.4), run=texts)
def test_growing_the_last_of_several_shares_moves_no_other_run(
    before: list[float], last: float, more: float, run: str
) -> None:
    first = {f"v{number}": share for number, share in enumerate(before)}
    small, large = sorted((last, more))

    earlier, later = (picked({**first, "last": share}, "algorithm", run) for share in (small, large))

    assert later in ({None, "last"} if earlier is None else {earlier})


def test_a_share_has_about_its_part_of_the_runs() -> None:
    """Four standard deviations either way; the runs are fixed, so this cannot fail by chance."""
    for share in (0.01, 0.1, 0.25, 0.5, 0.9):
        among = sum(in_share(share, "new_payment_flow", run) for run in RUNS)

        assert abs(among - share * len(RUNS)) < 4 * math.sqrt(len(RUNS) * share * (1 - share))


def test_several_shares_have_about_their_parts() -> None:
    shares = {"v2": 0.2, "v3": 0.1, "v4": 0.05}
    found = [picked(shares, "algorithm", run) for run in RUNS]

    for variant, share in [*shares.items(), (None, 0.65)]:
        assert abs(found.count(variant) - share * len(RUNS)) < 4 * math.sqrt(len(RUNS) * share * (1 - share))


def test_two_names_choose_their_runs_independently() -> None:
    both = sum(in_share(0.5, "one", run) and in_share(0.5, "two", run) for run in RUNS)

    assert abs(both - len(RUNS) / 4) < 4 * math.sqrt(len(RUNS) * 3 / 16)


def test_runs_whose_ids_follow_one_another_are_spread() -> None:
    members = [in_share(0.5, "new_payment_flow", run) for run in RUNS]
    changes = sum(one != other for one, other in pairwise(members))

    assert abs(changes - len(RUNS) / 2) < 4 * math.sqrt(len(RUNS) / 4)
