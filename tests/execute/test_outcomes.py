"""How steps and runs end: values, declared failures, unexpected errors, what happens at most once."""

import asyncio
import threading

import pytest

from awaitly import Err, Failure, Ok, Result, UnexpectedError, gather, settle, sleep, step, workflow
from awaitly.errors import UnwrapError
from awaitly.model.state import Status
from tests.execute.scene import Declined, Scene, once, read, write


class Missing(Failure):
    what: str


@step
async def divided(x: int) -> float:
    return 1 / x


@step
async def found(name: str) -> Result[str, Missing]:
    return Err(Missing(name)) if name == "nothing" else Ok(name)


@step
async def plainly(name: str) -> Result[str, str]:
    return Err("NOT_FOUND") if name == "nothing" else Ok(name)


@step
def in_thread(x: int) -> str:
    return f"{x} {threading.current_thread() is threading.main_thread()}"


@step
async def lying(x: int) -> int:
    return "not a number"  # type: ignore[return-value]  # the lie


class Fatal(BaseException):
    pass


@step
async def fatal(x: int) -> int:
    raise Fatal


@step
async def cancelling(x: int) -> int:
    raise asyncio.CancelledError


@workflow
async def divides(x: int) -> float:
    return await divided(x)


@workflow
async def catches(x: int) -> str:
    try:
        await divided(x)
    except UnexpectedError as error:
        return await write(error.type_name)
    return "x"


@workflow
async def catches_live(x: int) -> str:
    try:
        await divided(0)
    except UnexpectedError as error:
        seen = f"{error.type_name} {error.message}"
        await write("held")
        return seen
    return "x"


@workflow
async def finds(name: str) -> str:
    return await found(name)


@workflow
async def finds_plainly(name: str) -> str:
    return await plainly(name)


@workflow
async def attempts(name: str) -> str:
    match await found.attempt(name):
        case Ok(value):
            return value
        case Err(error):
            return f"no {error}"


@workflow
async def threaded(x: int) -> str:
    return await in_thread(x)


@workflow
async def lied_to(x: int) -> int:
    return await lying(x)


@workflow
async def dies(x: int) -> int:
    return await fatal(x)


@workflow
async def cancels_itself(x: int) -> int:
    return await cancelling(x)


@workflow
async def precious(x: int) -> str:
    await once("o")
    return await write("after")


said: dict[str, bool] = {}


@step(effect="once")
async def asked(name: str) -> str:
    return await once.fn(name)


@asked.verify
async def happened(name: str) -> bool:
    return said[name]


@workflow
async def asking(x: int) -> str:
    return await asked("o")


@workflow(durable=False)
async def fleeting(x: int) -> list[str]:
    a, b = await gather(write("a"), read("b"))
    await sleep("1s")
    results = await settle(write("c"), found("nothing"))
    return [a, b, *[str(result) for result in results]]


@workflow(durable=False)
async def fleeting_failure(name: str) -> str:
    return await write(name)


async def test_an_undeclared_exception_is_unexpected(scene: Scene) -> None:
    result = await scene.run(divides, 0)

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    assert "division by zero" in str(result.error)


async def test_a_declared_failure_arrives_as_itself(scene: Scene) -> None:
    async with scene.runtime() as rt:
        assert await rt.run(finds, "nothing") == Err(Missing("nothing"))
        assert await rt.run(finds, "something") == Ok("something")
        with pytest.raises(Missing):
            await finds("nothing")


async def test_a_plain_value_can_be_an_error(scene: Scene) -> None:
    async with scene.runtime() as rt:
        assert await rt.run(finds_plainly, "nothing") == Err("NOT_FOUND")
        with pytest.raises(UnwrapError):
            await finds_plainly("nothing")


async def test_an_attempt_gives_a_result(scene: Scene) -> None:
    async with scene.runtime() as rt:
        assert await rt.run(attempts, "nothing") == Ok("no what='nothing'")
        assert await rt.run(attempts, "it") == Ok("it")


async def test_a_body_can_catch_what_was_unexpected(scene: Scene) -> None:
    assert await scene.run(catches, 0) == Ok("ZeroDivisionError")


async def test_a_failure_is_the_same_on_replay(scene: Scene) -> None:
    await scene.interrupt(catches_live, 1, at="held")
    async with scene.runtime() as rt:
        replayed = await rt.run(catches_live.options(id="run"), 1)
        assert replayed == await rt.run(catches_live.options(id="fresh"), 1)


async def test_a_plain_function_runs_in_a_thread(scene: Scene) -> None:
    scene.clock.auto = False

    assert await scene.run(threaded, 3) == Ok("3 False")


async def test_a_value_that_is_not_what_was_promised_fails_the_step(scene: Scene) -> None:
    result = await scene.run(lied_to, 3)

    assert isinstance(result, Err)
    assert "unserialisable" in str(result.error)


async def test_a_step_that_raises_cancelled_error_by_itself_fails(scene: Scene) -> None:
    result = await scene.run(cancels_itself, 3)

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)


async def test_a_step_that_raises_a_base_exception_does_not_leave_the_run_hanging(scene: Scene) -> None:
    result = await scene.run(dies, 3)

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)


async def test_what_happens_once_is_not_repeated_after_a_crash(scene: Scene) -> None:
    await scene.interrupt(precious, 1, at="o")
    result = await scene.run(precious, 1)

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    assert result.error.cause_code == "ambiguous-effect"
    assert result.error.hint == "register a function with @once.verify that finds out"
    assert scene.log.count("o") == 1
    assert scene.facts("run")[1] == "StepStarted once#0"


async def test_what_happened_once_says_so_when_its_verification_knows(scene: Scene) -> None:
    said["o"] = True
    await scene.interrupt(asking, 1, at="o")
    result = await scene.run(asking, 1)

    assert isinstance(result, Err)
    assert isinstance(result.error, UnexpectedError)
    assert result.error.cause_code == "ambiguous-effect"
    assert "@asked.verify says that it happened: only its outcome is not known" in str(result.error)
    assert "nobody knows whether" not in str(result.error)
    assert "look the outcome up" in (result.error.hint or "")
    assert scene.log.count("o") == 1


async def test_what_did_not_happen_as_its_verification_knows_is_done(scene: Scene) -> None:
    said["o"] = False
    await scene.interrupt(asking, 1, at="o")

    assert await scene.run(asking, 1) == Ok("o")
    assert scene.log.count("o") == 2


async def test_what_happens_once_is_done_when_its_start_was_not_stored(scene: Scene) -> None:
    assert await scene.run(precious, 1) == Ok("after")
    assert scene.log == ["o", "o done", "after", "after done"]


async def test_a_declared_failure_of_what_happens_once_is_its_outcome(scene: Scene) -> None:
    scene.fails["o"] = Declined("o")
    async with scene.runtime() as rt:
        assert await rt.run(precious.options(id="run"), 1) == Err(Declined("o"))
        assert (await rt.runs())[0].status is Status.FAILED


async def test_a_run_that_is_not_durable_means_the_same_and_stores_nothing(scene: Scene) -> None:
    scene.fails["bad"] = Declined("bad")
    async with scene.runtime() as rt:
        result = await rt.run(fleeting, 1)
        assert result == Ok(["a", "b", "Ok('c')", "Err(Missing(what='nothing'))"])
        assert await rt.run(fleeting_failure, "bad") == Err(Declined("bad"))
        assert list(await rt.runs()) == []

    assert scene.store.appends == 0


async def test_a_step_outside_of_a_workflow_is_its_function(scene: Scene) -> None:
    async with scene.runtime():
        assert await write("a") == "a"
        assert await found.attempt("nothing") == Err(Missing("nothing"))

    assert scene.store.appends == 0
