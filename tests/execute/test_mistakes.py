"""What callers do wrong, and what they are told."""

import asyncio
import gc
import logging
import time
import traceback
import warnings
from typing import Any

import pytest

from awaitly import Err, UnexpectedError, step, workflow
from awaitly.errors import ConfigurationError, NotSupported, UsageError
from tests.execute.scene import Scene, write


@step
async def added(x: int, y: int) -> int:
    return x + y


@step
async def same(x: int) -> int:
    return x


@step
async def listed(x: Any) -> list[int]:
    return [1, x]


@workflow
async def one(name: str) -> str:
    return await write(name)


@workflow(key="one:{name}")
async def named(name: str) -> str:
    return await write(name)


@workflow(durable=False)
async def passing(name: str) -> str:
    return await write(name)


@workflow
async def too_few() -> int:
    return await added(1)  # type: ignore[call-arg]  # the mistake


@workflow(durable=False)
async def too_few_in_passing() -> int:
    return await added(1)  # type: ignore[call-arg]  # the mistake


@workflow
async def wrong_type() -> int:
    return await same("seven")  # type: ignore[arg-type]  # the mistake


@workflow
async def wrong_item() -> list[int]:
    return await listed("two")


@workflow
async def forgetful() -> None:
    write("a")  # type: ignore[unused-coroutine]  # the mistake


@workflow(durable=False)
async def forgetful_in_passing() -> None:
    write("a")  # type: ignore[unused-coroutine]  # the mistake


def test_run_sync_is_refused_where_a_loop_runs() -> None:
    async def story() -> None:
        with pytest.raises(UsageError, match=r"await one\.run\(\.\.\.\) instead") as caught:
            one.run_sync("a")
        assert caught.value.code == "running-loop"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(story())


def test_the_traceback_of_what_run_sync_refuses_leads_to_the_line_that_called_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWAITLY_STORE", "memory://")

    with pytest.raises(UsageError, match="cannot be the id of a run") as caught:
        one.options(id="").run_sync("a")

    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:] == ["run_sync"]


@pytest.mark.parametrize("flow", [one, passing], ids=lambda flow: flow.name)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "missing 1 required positional argument: 'name'"),
        (("a", "b"), "takes 1 positional argument but 2 were given"),
    ],
)
def test_wrong_arguments_of_a_workflow_are_the_type_error_of_a_plain_call(
    scene: Scene, flow: Any, args: Any, message: str
) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            with pytest.raises(TypeError) as caught:
                await rt.run(flow, *args)
            assert str(caught.value) == f"{flow.name}() {message}"
            assert not await rt.runs()

    scene.play(story())


def test_a_workflow_with_a_key_names_the_argument_that_is_missing(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            with pytest.raises(TypeError, match=r"^named\(\) missing 1 required argument: 'name'$"):
                await rt.start(named)

    scene.play(story())


@pytest.mark.parametrize("flow", [too_few, too_few_in_passing], ids=lambda flow: flow.name)
def test_wrong_arguments_of_a_step_are_the_type_error_of_a_plain_call(scene: Scene, flow: Any) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            result = await rt.run(flow)
        assert isinstance(result, Err)
        assert isinstance(result.error, UnexpectedError)
        assert (result.error.type_name, result.error.step) == ("TypeError", None)
        assert result.error.message == "added() missing 1 required positional argument: 'y'"

    scene.play(story())


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (wrong_type, "step same returned str 'seven' where its annotation says int"),
        (wrong_item, "step listed returned str 'two' at result[1], where its annotation says int"),
    ],
)
def test_a_step_that_returns_something_else_is_told_what_and_where(scene: Scene, flow: Any, message: str) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            result = await rt.run(flow)
        assert isinstance(result, Err)
        assert result.error.message == message
        assert result.error.cause_code == "unserialisable-result"

    scene.play(story())


@pytest.mark.parametrize("flow", [forgetful, forgetful_in_passing], ids=lambda flow: flow.name)
def test_a_call_that_is_never_awaited_is_reported_under_the_step_s_name(scene: Scene, flow: Any) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            await rt.run(flow)
        gc.collect()

    with pytest.warns(RuntimeWarning, match="coroutine 'write' was never awaited"):
        scene.play(story())


def test_a_call_outside_of_a_workflow_that_is_never_awaited_is_reported_likewise() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'same' was never awaited"):
        [same(1)].clear()


@pytest.mark.parametrize("begin", ["__call__", "run", "start"])
def test_a_run_that_is_never_awaited_is_reported_under_the_workflow_s_name(begin: str) -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'forgetful' was never awaited"):
        [getattr(forgetful, begin)()].clear()


def test_a_transaction_is_refused_where_the_step_is_declared() -> None:
    with pytest.raises(NotSupported, match=r'effect="transaction" of .*paid.* is not built yet') as caught:

        @step(effect="transaction")
        async def paid() -> None: ...

    assert caught.value.code == "not-supported"


def test_asking_about_an_unknown_outcome_is_refused_where_the_step_is_declared() -> None:
    with pytest.raises(NotSupported, match=r'on_ambiguous="ask" of .*paid.* is not built yet'):

        @step(effect="once", on_ambiguous="ask")
        async def paid() -> None: ...


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ({"effect": "wrote"}, "choose one of 'none', 'read', 'write', 'once'"),
        ({"effect": "once", "on_ambiguous": "asking"}, "choose one of 'fail', 'retry', 'verify'"),
    ],
)
def test_what_is_not_built_yet_is_not_offered_either(options: Any, offered: str) -> None:
    with pytest.raises(ConfigurationError) as caught:

        @step(**options)
        async def paid() -> None: ...

    assert caught.value.hint == offered


@workflow
async def lucky(name: str) -> str:
    return await write(f"{name} {time.time()}")


def test_what_the_compiler_warns_of_is_logged_once_however_many_runtimes_there_are(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        for _ in range(2):
            async with scene.runtime() as rt:
                assert (await rt.run(lucky, "a")).is_ok()

    with caplog.at_level(logging.WARNING, logger="awaitly"):
        scene.play(story())

    (warned,) = lucky.graph.diagnostics
    assert caplog.messages == [f"{warned}. {warned.hint}"]
    assert [vars(record)["code"] for record in caplog.records] == [warned.code]


def test_what_the_compiler_warns_of_is_logged_when_logs_are_as_the_settings_want_them(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        runtime = scene.runtime(lucky)
        assert caplog.messages == []
        async with runtime:
            assert len(caplog.messages) == 1

    with caplog.at_level(logging.WARNING, logger="awaitly"):
        scene.play(story())
