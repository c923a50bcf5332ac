"""Policies that do not suit what a step does do not compile; the graph shows those that are in force."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from awaitly import Breaker, Cache, Failure, Fallback, Hedge, RateLimit, Retry, Runtime, Workflow, step, workflow
from awaitly.errors import ConfigurationError
from awaitly.model.graph import Diagnostic
from awaitly.policies.pipeline import Policies
from awaitly.settings import Settings


class Client:
    """What cannot be stored."""


class Refused(Failure):
    pass


@step(
    cache="1h",  # unsafe-policy
)
async def remembered(user: str) -> str:
    return user


@step(
    effect="once",
    hedge="200ms",  # unsafe-policy
)
async def hedged(user: str) -> str:
    return user


@step(effect="read", cache="1h", hedge="200ms")
async def looked_up(user: str) -> str:
    return user


@step(
    effect="read",
    unfingerprinted=("client",),
    cache="1h",  # unsafe-policy
)
async def mixed_up(user: str, client: Client) -> str:
    return user


@step(effect="read", unfingerprinted=("client",), cache=Cache("1h", key="{user}"))
async def told_apart(user: str, client: Client) -> str:
    return user


@step(
    effect="read",
    cache=Cache("1h", key="{usr}"),  # bad-key-template
)
async def misnamed(user: str) -> str:
    return user


@step
async def written(user: str) -> str:
    return user


@step(
    effect="read",
    fallback=written,  # unsafe-policy
)
async def stronger(user: str) -> str:
    return user


@step(fallback=looked_up)
async def weaker(user: str) -> str:
    return user


def other_names(name: str) -> str:
    return name


def fewer() -> str:
    return ""


def same(user: str) -> str:
    return user


@step(
    fallback=other_names,  # bad-fallback
)
async def falls_back_on_other_names(user: str) -> str:
    return user


@step(
    fallback=Fallback(fewer),  # bad-fallback
)
async def falls_back_on_fewer(user: str) -> str:
    return user


@step(fallback=same)
async def falls_back(user: str) -> str:
    return user


@step(fallback=Fallback(value="nobody"))
async def falls_back_on_a_value(user: str) -> str:
    return user


@step(effect="once", errors=Refused, retry=Retry(3))
async def precious(user: str) -> str:
    return user


@workflow
async def mistaken(user: str) -> None:
    await remembered(user)
    await hedged(user)
    await mixed_up(user, Client())
    await misnamed(user)
    await stronger(user)
    await falls_back_on_other_names(user)
    await falls_back_on_fewer(user)


@workflow
async def right(user: str) -> None:
    await looked_up(user)
    await told_apart(user, Client())
    await weaker(user)
    await falls_back(user)
    await falls_back_on_a_value(user)
    await precious(user)


@workflow
async def writing(user: str) -> str:
    return await written(user)


@step(breaker=Breaker(), limiter=RateLimit(limit=5), fallback=Fallback(value="nobody"))
async def switched(user: str) -> str:
    return user


@workflow
async def switching(user: str) -> str:
    return await switched(user)


@step(breaker=Breaker("theirs"), limiter=RateLimit("theirs", limit=5))
async def named(user: str) -> str:
    return user


@workflow
async def naming(user: str) -> str:
    return await named(user)


@workflow
async def treasured(user: str) -> str:
    return await plain_once(user)


@step(effect="once", errors=Refused)
async def plain_once(user: str) -> str:
    return user


STEPS = (
    remembered, hedged, mixed_up, misnamed, stronger, falls_back_on_other_names, falls_back_on_fewer
)  # fmt: skip


def marks() -> list[tuple[int, str]]:
    """Return the lines of this file with the codes that their comments announce, in steps that are mistaken."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    found = [(number, line.rpartition("# ")[2]) for number, line in enumerate(lines, start=1)]
    return [(number, code) for number, code in found if code in ("unsafe-policy", "bad-fallback", "bad-key-template")]


def test_what_does_not_suit_a_step_is_found_where_it_is_written() -> None:
    found = mistaken.graph.diagnostics

    assert sorted((d.position.line, d.code) for d in found if d.position) == marks()
    assert len(marks()) == len(STEPS)


def test_policies_that_suit_their_steps_give_no_reason_to_object() -> None:
    assert right.graph.diagnostics == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("remembered", 'step remembered has cache= and effect="write": its outcome would be taken from an earli'),
        ("hedged", 'step hedged has hedge= and effect="once": it could happen twice'),
        ("mixed_up", "the cache of step mixed_up cannot tell calls apart that differ in client"),
        ("stronger", 'step stronger has effect="read", and its fallback written has effect="write": it would begin'),
        ("falls_back_on_fewer", "the fallback of step falls_back_on_fewer cannot be called like it: () instead of (us"),
    ],
)  # fmt: skip
def test_a_message_says_what_would_come_of_it(name: str, message: str) -> None:
    found: list[Diagnostic] = [d for d in mistaken.graph.diagnostics if f"step {name} " in d.message]

    assert [d.message[: len(message)] for d in found] == [message]
    assert found[0].hint


# The graph.


def shown(given: Policies, **settings: Any) -> list[str]:
    """Return the policies of a step in the graph of a runtime, from the outside in."""

    @step(effect="read", policies=given)
    async def asked(user: str) -> str:
        return user

    @workflow
    async def asking(user: str) -> str:
        return await asked(user)

    runtime = Runtime(Settings(store="memory://", **settings), workflows=[asking])
    graph = runtime.library.program(asking).graph
    json.dumps(graph.model_dump(mode="json"))
    return [str(policy) for policy in graph.steps["asked"].policies]


def test_a_graph_shows_policies_from_the_outside_in_with_what_differs_from_the_defaults() -> None:
    everything = Policies(
        fallback=Fallback(value="nobody", on=TimeoutError),
        deadline=90,
        cache=Cache("1h"),
        retry=Retry(5, on=OSError, initial=0.5),
        hedge=Hedge("200ms"),
        limiter=(RateLimit("users", limit=10, per="1s"), RateLimit("pool", limit=5, per="1m")),
        breaker=Breaker("users", failure_threshold=3),
        timeout="10s",
    )

    assert [text.split(" (")[0] for text in shown(everything)] == [
        "fallback", "deadline 1m30s", "cache", "retry", "hedge", "limiter 'pool'", "limiter 'users'",
        "breaker 'users'", "timeout 10s",
    ]  # fmt: skip
    assert shown(Policies(retry=Retry(5, on=OSError, initial=0.5))) == ["retry (attempts 5, initial 500ms, on OSError)"]
    assert shown(Policies(retry=Retry())) == ["retry (attempts 3)"]


def test_a_graph_shows_what_settings_make_of_policies() -> None:
    table = {"timeout": "3s", "retry": {"attempts": 7}, "breaker": {"enabled": False}}

    assert shown(Policies(breaker=Breaker(), timeout="10s"), steps={"asked": table}) == [
        "retry (attempts 7)",
        "timeout 3s",
    ]


def test_a_graph_shows_no_addresses() -> None:
    program = Runtime(Settings(store="memory://"), workflows=[right]).library.program(right)

    assert [str(policy) for policy in program.graph.steps["precious"].policies] == [
        "retry (attempts 3, on not_executed)"
    ]


# What settings may not make of them.


@pytest.fixture
def refused() -> Callable[..., str]:
    """Return why a runtime with these settings does not start."""

    def why(asked: Workflow[..., Any, Any], **settings: Any) -> str:
        with pytest.raises(ConfigurationError) as caught:
            Runtime(Settings(store="memory://", **settings), workflows=[asked])
        assert caught.value.code == "invalid-setting"
        return caught.value.message

    return why


def test_settings_cannot_give_an_effect_a_cache_or_a_hedge(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'step written has effect="write": it could happen twice' in refused(
        writing, steps={"written": {"hedge": {"after": "200ms"}}}
    )
    monkeypatch.setenv("AWAITLY_STEPS__WRITTEN__CACHE__TTL", "1h")
    assert "AWAITLY_STEPS__WRITTEN__CACHE__TTL (in the environment): step written has effect" in refused(writing)


SWITCHED = "steps.{step}.{policy}.enabled (given as an argument): step '{step}' has no {policy} that this could switch"


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("policy", ["breaker", "limiter", "fallback"])
def test_a_switch_of_what_a_step_does_not_have_is_refused(refused: Callable[..., str], policy: str, on: bool) -> None:
    said = refused(writing, steps={"written": {policy: {"enabled": on}}})

    assert said.splitlines()[1].strip() == SWITCHED.format(step="written", policy=policy)


@pytest.mark.parametrize("policy", ["retry", "cache", "hedge"])
def test_switching_off_what_neither_a_step_nor_its_settings_have_is_refused(
    refused: Callable[..., str], policy: str
) -> None:
    said = refused(writing, steps={"written": {policy: {"enabled": False}}})

    assert SWITCHED.format(step="written", policy=policy) in said


def test_what_a_step_has_may_be_switched_and_so_may_what_its_settings_give_it() -> None:
    steps = {
        "switched": {"breaker": {"enabled": True}, "limiter": {"enabled": False}, "fallback": {"enabled": False}},
        "written": {"retry": {"enabled": False, "attempts": 3}},
    }

    Runtime(Settings(store="memory://", steps=steps), workflows=[writing, switching])


@pytest.mark.parametrize("table", ["breakers", "limiters"])
def test_a_step_without_a_breaker_or_limiter_has_no_settings_for_its_own(
    refused: Callable[..., str], table: str
) -> None:
    assert f"{table}.step written.enabled" in refused(writing, **{table: {"step written": {"enabled": False}}})
    assert f"{table}.step named.enabled" in refused(naming, **{table: {"step named": {"enabled": False}}})

    Runtime(Settings(store="memory://", **{table: {"step switched": {"enabled": False}}}), workflows=[switching])


def test_a_switch_of_what_a_step_does_not_have_is_warned_of_when_the_step_is_first_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = Runtime(Settings(store="memory://", steps={"written": {"breaker": {"enabled": False}}}))

    runtime.library.program(writing)

    assert SWITCHED.format(step="written", policy="breaker") in caplog.text


def test_settings_cannot_repeat_what_happens_at_most_once() -> None:
    """A retry that settings add follows the same rule as one that is declared."""
    runtime = Runtime(Settings(store="memory://", steps={"plain_once": {"retry": {"attempts": 3}}}))
    retry = runtime.library.program(treasured).steps["plain_once"].policies.retry

    assert retry.attempts == 3
    assert not retry.wants(Refused(), (Refused,))
    assert not retry.wants(OSError(), (Refused,))
