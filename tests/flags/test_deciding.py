"""Who is asked in which order, and what becomes of a provider that fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import pytest

from awaitly.flags.deciding import decided
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue
from awaitly.testing.clock import VirtualClock

FLAG = Flag("new-payment-flow")
CONTEXT = FlagContext("order:7", "checkout", {"tier": "gold"})


@dataclass
class Provider:
    """Answers as it is told, and remembers what it was asked."""

    answer: Callable[[], Awaitable[Decision | None]]
    name: str = "remote"
    asked: list[tuple[Flag, FlagContext]] = field(default_factory=list)

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        self.asked.append((flag, context))
        return await self.answer()

    def knows(self, flag: str) -> bool | None:
        return None


def saying(value: FlagValue | None, name: str = "remote") -> Provider:
    async def answer() -> Decision | None:
        return None if value is None else Decision(value, name, "v", "why")

    return Provider(answer, name)


def failing(error: BaseException, name: str = "remote") -> Provider:
    async def answer() -> Decision | None:
        raise error

    return Provider(answer, name)


def waiting(seconds: float, clock: VirtualClock, name: str = "remote") -> Provider:
    async def answer() -> Decision | None:
        over = asyncio.Event()
        clock.call_later(seconds, over.set)
        await over.wait()
        return Decision(True, name)

    return Provider(answer, name)


def stubborn(name: str = "remote") -> Provider:
    """Return a provider that never answers, and makes another error of a cancellation."""

    async def answer() -> Decision | None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("cancelled") from None
        return None

    return Provider(answer, name)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(auto=True)


def decision(
    *providers: Provider,
    flag: Flag = FLAG,
    clock: VirtualClock | None = None,
    overrides: Mapping[str, FlagValue] | None = None,
    warned: set[tuple[str, str]] | None = None,
    limit: float = 1.0,
) -> Decision:
    clock = clock or VirtualClock(auto=True)
    warned = set() if warned is None else warned
    return clock.run(
        decided(flag, CONTEXT, providers, clock, limit=limit, overrides=overrides or {}, warned=warned), longest=10
    )


def test_the_first_provider_that_knows_the_flag_decides() -> None:
    first, second, third = saying(None), saying(True, "second"), saying(False, "third")

    assert decision(first, second, third) == Decision(True, "second", "v", "why")
    assert (first.asked, third.asked) == ([(FLAG, CONTEXT)], [])


def test_a_value_that_is_false_is_an_answer() -> None:
    assert decision(saying(False), saying(True, "second")).provider == "remote"


@pytest.mark.parametrize("name", ["new-payment-flow", "NEW_PAYMENT_FLOW"])
def test_what_the_run_was_started_with_wins_over_every_provider(name: str) -> None:
    provider = saying(True)

    assert decision(provider, overrides={name: False, "other": True}) == Decision(False, "run", reason="override")
    assert provider.asked == []


@pytest.mark.parametrize("default", [False, "v1", 3])
def test_without_an_answer_the_declared_default_holds(default: FlagValue) -> None:
    found = decision(saying(None), flag=Flag("new-payment-flow", default))

    assert found == Decision(default, "default", reason="no provider knows it")


def test_after_a_provider_that_raises_the_next_one_is_asked() -> None:
    assert decision(failing(ValueError("away")), saying(True, "second")) == Decision(True, "second", "v", "why")


def test_the_reason_of_the_default_tells_of_every_failure() -> None:
    found = decision(failing(ValueError("no\n   answer")), saying(None), failing(KeyError(), "other"))

    assert found == Decision(False, "default", reason="remote failed: ValueError: no answer; other failed: KeyError")


def test_an_error_of_any_length_has_a_reason_of_bounded_length() -> None:
    found = decision(failing(ValueError("x" * 100_000)))

    assert found.reason == "remote failed: ValueError: " + "x" * 288


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_that_cannot_say_what_it_is_keeps_no_flag_from_being_decided() -> None:
    assert "Unspeakable" in decision(failing(Unspeakable())).reason


def test_a_provider_that_is_too_slow_is_passed_over(clock: VirtualClock) -> None:
    began = clock.now

    found = decision(waiting(1.5, clock), clock=clock)

    assert found == Decision(False, "default", reason="remote failed: TimeoutError: no answer within 1s")
    assert clock.now == began + 1.0


def test_the_limit_is_each_providers_own(clock: VirtualClock) -> None:
    assert decision(waiting(0.9, clock), clock=clock).value is True
    slow = [waiting(3, clock, "a"), waiting(3, clock, "b"), waiting(1.9, clock, "c")]
    assert decision(*slow, clock=clock, limit=2.0).provider == "c"


def test_a_provider_that_resists_its_cancellation_holds_up_nobody(clock: VirtualClock) -> None:
    assert decision(stubborn(), saying(True, "second"), clock=clock).provider == "second"


def test_a_cancellation_of_the_caller_is_no_failure_of_the_provider(clock: VirtualClock) -> None:
    second = saying(True)

    async def story() -> None:
        deciding = asyncio.ensure_future(decided(FLAG, CONTEXT, [stubborn(), second], clock))
        await asyncio.sleep(0)
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding

    clock.run(story(), longest=10)
    assert second.asked == []


def test_a_provider_that_cancels_itself_has_failed() -> None:
    found = decision(failing(asyncio.CancelledError()))

    assert found.reason == "remote failed: RuntimeError: it was cancelled from within"


class Halt(BaseException):
    pass


def test_what_is_no_exception_passes_through() -> None:
    with pytest.raises(Halt):
        decision(failing(Halt()), saying(True))


def test_a_value_of_another_kind_than_the_defaults_is_a_failure() -> None:
    found = decision(saying("yes"))

    assert found.value is False
    assert found.reason == (
        "remote failed: TypeError: flag 'new-payment-flow' takes a boolean, as its default is False; this is 'yes'"
    )


def test_an_override_of_another_kind_than_the_defaults_is_a_failure() -> None:
    found = decision(saying(True), overrides={"new-payment-flow": "yes"})

    assert found.provider == "remote"


def test_a_provider_that_gives_something_else_than_a_decision_has_failed() -> None:
    async def answer() -> Decision | None:
        return True  # type: ignore[return-value]

    found = decision(Provider(answer))

    assert found.reason == "remote failed: TypeError: decide() gave True, which is not a Decision"


class Variant(StrEnum):
    B = "b"


class Size(IntEnum):
    LARGE = 3


class Ratio(float):
    pass


@pytest.mark.parametrize(("value", "default"), [(Variant.B, "a"), (Size.LARGE, 1), (Ratio(0.5), 1), (True, False)])
def test_a_value_is_what_it_will_be_when_it_is_read_from_the_journal(value: FlagValue, default: FlagValue) -> None:
    found = decision(saying(value), flag=Flag("algorithm", default)).value

    assert found == value
    assert type(found) in {bool, int, float, str}


def test_a_failure_is_logged_once_for_a_provider_and_a_flag(caplog: pytest.LogCaptureFixture) -> None:
    warned: set[tuple[str, str]] = set()
    with caplog.at_level(logging.WARNING, "awaitly"):
        for name in ("new-flow", "NEW_FLOW", "new-flow", "other"):
            decision(failing(ValueError("away")), flag=Flag(name), warned=warned)
        decision(failing(ValueError("away"), "second"), flag=Flag("new-flow"), warned=warned)

    assert [record.getMessage().partition(".")[0] for record in caplog.records] == [
        "flag new-flow: remote failed: ValueError: away",
        "flag other: remote failed: ValueError: away",
        "flag new-flow: second failed: ValueError: away",
    ]
    assert {(record.levelname, record.__dict__["code"]) for record in caplog.records} == {
        ("WARNING", "flag-provider-failed")
    }
    assert all(record.getMessage().endswith("[flag-provider-failed]") for record in caplog.records)


def test_by_default_the_process_remembers_what_was_logged(
    caplog: pytest.LogCaptureFixture, clock: VirtualClock
) -> None:
    flag = Flag("a-flag-of-this-test-alone")
    with caplog.at_level(logging.WARNING, "awaitly"):
        for _ in range(2):
            clock.run(decided(flag, CONTEXT, [failing(ValueError("away"))], clock))

    assert len(caplog.records) == 1
