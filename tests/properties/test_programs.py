"""Whatever the program, the interleaving and the disturbance: nothing is lost, repeated or reordered."""

import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.campaign import check, plan
from tests.properties.play import Played, module_of, wanted
from tests.properties.programs import Generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@given(seed=st.integers(0, 2**32), size=st.integers(1, 10), lives=st.integers(0, 3))
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_program_ends_as_it_should_however_it_is_disturbed(folder: Path, seed: int, size: int, lives: int) -> None:
    random = Random(seed)
    program = Generator(random).program(size)
    module = module_of(program, folder)

    calm = Played(module.main, seed)
    plans = [plan(random, calm.boundaries) for _ in range(lives)]
    disturbed = Played(module.main, f"{seed}:{plans}", plans)
    del sys.modules[module.__name__]

    assert calm.problems(wanted(program)) == []
    check(program, disturbed, plans)
