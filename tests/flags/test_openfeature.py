"""OpenFeature's own client and providers decide."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import FeatureProvider
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from awaitly.errors import ConfigurationError
from awaitly.flags.deciding import decided
from awaitly.flags.openfeature import OpenFeatureFlags
from awaitly.flags.provider import Decision, Flag, FlagContext, FlagValue
from awaitly.testing.clock import VirtualClock

CONTEXT = FlagContext("order:7", "checkout", {"tier": "gold"})


@pytest.fixture(autouse=True)
def no_providers() -> Iterator[None]:
    """Leave nothing behind: OpenFeature's providers are the process's."""
    yield
    api.shutdown()


def provided(**flags: InMemoryFlag[Any]) -> None:
    api.set_provider_and_wait(InMemoryProvider({name.replace("_", "-"): flag for name, flag in flags.items()}))


def on(variant: str, **variants: FlagValue) -> InMemoryFlag[FlagValue]:
    return InMemoryFlag(variant, dict(variants))


def decision(flag: Flag, flags: OpenFeatureFlags | None = None) -> Decision | None:
    return asyncio.run((flags or OpenFeatureFlags()).decide(flag, CONTEXT))


@pytest.mark.parametrize(
    ("default", "value"), [(False, True), ("a", "b"), (1, 2), (0.5, 0.25)], ids=["bool", "str", "int", "float"]
)
def test_a_flag_is_evaluated_in_the_type_of_its_default(default: FlagValue, value: FlagValue) -> None:
    provided(new_flow=on("second", first=default, second=value))

    assert decision(Flag("new-flow", default)) == Decision(value, "openfeature", "second", "STATIC")


def test_what_is_recorded_is_plain_text() -> None:
    provided(new_flow=on("on", on=True))

    found = decision(Flag("new-flow"))

    assert found is not None
    assert (type(found.reason), type(found.variant)) == (str, str)


def test_the_run_is_what_is_targeted_with_its_workflow_and_metadata() -> None:
    seen: list[EvaluationContext] = []

    def evaluate(flag: InMemoryFlag[bool], context: EvaluationContext) -> FlagResolutionDetails[bool]:
        seen.append(context)
        return FlagResolutionDetails(True, reason=Reason.TARGETING_MATCH)

    provided(new_flow=InMemoryFlag("on", {"on": True}, context_evaluator=evaluate))

    assert decision(Flag("new-flow")) == Decision(True, "openfeature", "", "TARGETING_MATCH")
    assert seen == [EvaluationContext("order:7", {"tier": "gold", "workflow": "checkout"})]


def test_a_flag_that_its_provider_does_not_know_is_not_known() -> None:
    provided()

    assert decision(Flag("new-flow")) is None
    assert OpenFeatureFlags().knows("new-flow") is None


def test_without_a_provider_no_flag_is_known() -> None:
    assert decision(Flag("new-flow")) is None


def test_a_domain_and_a_client_each_have_their_provider() -> None:
    api.set_provider_and_wait(InMemoryProvider({"new-flow": on("on", on=True)}), domain="shop")
    provided(new_flow=on("off", off=False))

    answers = [
        decision(Flag("new-flow"), flags)
        for flags in (OpenFeatureFlags(), OpenFeatureFlags(domain="shop"), OpenFeatureFlags(api.get_client("shop")))
    ]

    assert [answer and answer.value for answer in answers] == [False, True, True]


def test_a_client_and_a_domain_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"both a client and the domain 'shop'.*\[invalid-option\]"):
        OpenFeatureFlags(api.get_client(), "shop")


def test_a_flag_of_another_type_is_an_error() -> None:
    provided(new_flow=on("on", on="yes"))

    with pytest.raises(Exception, match="Expected type <class 'bool'> but got <class 'str'>"):
        decision(Flag("new-flow"))


class Remote(InMemoryProvider):
    """Answers as a service far away may: with an error, or not at all."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__({})
        self.error = error

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        return FlagResolutionDetails(True)


def fallen_back(provider: FeatureProvider) -> Decision:
    api.set_provider_and_wait(provider)
    clock = VirtualClock(auto=True)
    return clock.run(decided(Flag("new-flow"), CONTEXT, [OpenFeatureFlags()], clock, warned=set()), longest=10)


def test_an_error_of_the_provider_gives_the_default_with_the_reason() -> None:
    found = fallen_back(Remote(GeneralError("the service is away")))

    reason = "openfeature failed: openfeature.exception.GeneralError: the service is away"
    assert found == Decision(False, "default", reason=reason)


def test_an_exception_of_the_provider_does_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "openfeature"):
        found = fallen_back(Remote(OSError("connection reset")))

    assert found.reason == "openfeature failed: openfeature.exception.GeneralError: connection reset"


def test_a_provider_that_does_not_answer_gives_the_default_when_its_time_is_over() -> None:
    found = fallen_back(Remote())

    assert found.reason == "openfeature failed: TimeoutError: no answer within 1s"


def test_who_is_cancelled_while_openfeature_is_asked_is_cancelled() -> None:
    """Its client turns a cancellation into another error."""
    api.set_provider_and_wait(Remote())
    clock = VirtualClock()

    async def story() -> None:
        deciding = asyncio.ensure_future(decided(Flag("new-flow"), CONTEXT, [OpenFeatureFlags()], clock, warned=set()))
        await clock.settle()
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding

    clock.run(story(), longest=10)


def test_flagd_decides_from_a_file(tmp_path: Path) -> None:
    targeting = {"if": [{"==": [{"var": "tier"}, "gold"]}, "on", "off"]}
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": targeting}
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flags": {"new-flow": flag}}))
    api.set_provider_and_wait(
        FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file)), domain="flagd"
    )

    flags = OpenFeatureFlags(domain="flagd")

    assert decision(Flag("new-flow"), flags) == Decision(True, "openfeature", "on", "TARGETING_MATCH")
    assert decision(Flag("other"), flags) is None
