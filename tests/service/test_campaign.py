"""A small campaign; the full one is a command: ``python -m tests.service.campaign``."""

import random
from pathlib import Path

from tests.service.campaign import told, trial

ORDERS = 60


def test_a_shop_that_is_stopped_and_one_that_is_killed_under_load_lose_no_order_and_charge_none_twice(
    tmp_path: Path,
) -> None:
    found = trial(tmp_path / "trial", ("gently", "killed"), ORDERS, rate=60, chance=random.Random(1))

    counts = told(found)
    assert (counts["orders"], counts["continued after gently"]) == (ORDERS, 0)
    assert counts["answered while stopped gently"] > 0
    assert counts["continued after killed"] > 0
