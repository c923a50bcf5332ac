"""Names that cannot be stored or sent are refused where they are declared."""

from collections.abc import Callable

import pytest

from awaitly import Breaker, Concurrency, Flag, step, workflow
from awaitly.errors import ConfigurationError
from awaitly.webhooks import Outbox

ODD = "caf\udce9"


async def double(number: int) -> int:
    return 2 * number


DECLARING: list[Callable[[], object]] = [
    lambda: step(name=ODD)(double),
    lambda: step(key=ODD + "{number}")(double),
    lambda: step(tags=(ODD,))(double),
    lambda: workflow(name=ODD)(double),
    lambda: workflow(key=ODD + "{number}")(double),
    lambda: Breaker(name=ODD),
    lambda: Concurrency(ODD, limit=1),
    lambda: Flag(ODD),
    lambda: Outbox("https://receiver.test/", secret="s", name=ODD),
]


@pytest.mark.parametrize("declare", DECLARING)
def test_a_name_that_is_no_valid_unicode_is_refused_and_shown_with_escapes(declare: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="valid Unicode") as caught:
        declare()

    assert caught.value.code == "invalid-option"
    assert r"caf\udce9" in caught.value.message
