"""What is said when the code of a run is no longer the code that it was started with."""

from linecache import getlines
from typing import Any

import pytest

from awaitly import Ok, Workflow, gather, now, sleep, workflow
from awaitly.errors import ChangedArguments, Mismatch
from tests.execute.scene import Scene, keyed, read, write

OUTSIDE: dict[str, Any] = {}
HERE = __file__


@workflow(name="order")
async def before(x: int) -> str:
    await write("a")
    await write("b")
    return await write("last")


@workflow(name="order")
async def another_step_there(x: int) -> str:
    await write("a")
    await read("b")
    return await write("last")


@workflow(name="order")
async def fewer_calls(x: int) -> str:
    return await write("a") + await read("last")


WAYS = {"write": write, "read": read}


@workflow
async def by_table(way: str) -> str:
    return await WAYS[way]("a") + "".join(await gather(*map(WAYS[way], ["b", "c"]))) + await write("last")


@workflow(name="order")
async def no_such_step(x: int) -> str:
    return await read("a")


@workflow(name="order")
async def moody(x: int) -> str:
    await write(OUTSIDE.get("first", "a"))
    if OUTSIDE.get("ends"):
        return "ended"
    if OUTSIDE.get("clock"):
        now()
    if OUTSIDE.get("sleeps"):
        await sleep("1s")
    if OUTSIDE.get("both"):
        await gather(read("c"), keyed("k", "c"))
    await write("b") if not OUTSIDE.get("reads") else await read("b")
    return await write("last")


@workflow(name="order")
async def with_key(x: int) -> str:
    if not OUTSIDE.get("no key"):
        await keyed("order:7", "a")
    return await write("last")


@workflow(name="order")
async def slow(x: int) -> str:
    if not OUTSIDE.get("no sleep"):
        await sleep("1s")
    return await write("last")


def line(flow: Workflow[..., Any, Any], text: str) -> str:
    """Return where a workflow has a text, as messages say it."""
    lines = getlines(HERE)
    first = flow.fn.__code__.co_firstlineno
    number = next(number for number, each in enumerate(lines, 1) if number > first and text in each)
    return f"{HERE}:{number}"


async def parted(
    scene: Scene, started: Workflow[..., Any, Any], then: Workflow[..., Any, Any], **outside: Any
) -> Mismatch | ChangedArguments:
    """Interrupt a run of one code before its last step, and return what another code says to it."""
    OUTSIDE.clear()
    await scene.interrupt(started, 1, at="last", after=2, id="order:7")
    OUTSIDE.update(outside)
    async with scene.runtime() as rt:
        with pytest.raises((Mismatch, ChangedArguments)) as caught:
            await rt.run(then.options(id="order:7"), 1)
    return caught.value


async def test_a_step_that_another_one_has_replaced(scene: Scene) -> None:
    error = await parted(scene, before, another_step_there)

    assert isinstance(error, Mismatch)
    assert error.message == (
        "run 'order:7' does not fit the code of order: its 2nd call of write "
        f"({line(another_step_there, 'last')}) returned a value, but the code now waits for read "
        f"({line(another_step_there, 'read')})"
    )
    assert (error.step, error.where) == ("write", line(another_step_there, "last"))
    assert error.hint == (
        "deploy the code that the run was started with, fork it from before that (awaitly runs fork --at), or cancel it"
    )


async def test_a_call_that_is_gone(scene: Scene) -> None:
    error = await parted(scene, before, fewer_calls)

    assert error.message == (
        "run 'order:7' does not fit the code of order: its 2nd call of write returned a value, "
        f"but that call is gone from the code, which now calls write at {line(fewer_calls, 'write')}"
    )
    assert error.where == line(fewer_calls, "write")


async def test_a_step_that_is_gone(scene: Scene) -> None:
    error = await parted(scene, before, no_such_step)

    assert error.message == (
        "run 'order:7' does not fit the code of order: its 1st call of write returned a value, "
        "but the code has no such call any more"
    )
    assert error.where is None


@pytest.mark.parametrize(
    ("outside", "found"),
    [
        ({"reads": True}, "the code now waits for read ({read})"),
        ({"ends": True}, "the code now ends without it"),
        ({"clock": True}, "the code now calls now ({now})"),
        ({"sleeps": True}, "the code now calls sleep ({sleep})"),
        ({"both": True}, "the code now waits for read ({both}), keyed ({both})"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
async def test_a_body_that_goes_another_way(scene: Scene, outside: dict[str, bool], found: str) -> None:
    error = await parted(scene, moody, moody, **outside)

    places = {
        "read": line(moody, 'await read("b")'),
        "now": line(moody, "now()"),
        "sleep": line(moody, "await sleep"),
        "both": line(moody, "gather"),
    }

    assert isinstance(error, Mismatch)
    assert error.found == found.format(**places)
    assert error.recorded == f"its 2nd call of write ({places['read']}) returned a value"


async def test_a_call_with_a_key(scene: Scene) -> None:
    error = await parted(scene, with_key, with_key, **{"no key": True})

    assert isinstance(error, Mismatch)
    assert (
        error.recorded == f"its call of keyed with the key 'key:order:7' ({line(with_key, 'keyed')}) returned a value"
    )


async def test_a_sleep(scene: Scene) -> None:
    error = await parted(scene, slow, slow, **{"no sleep": True})

    assert isinstance(error, Mismatch)
    assert error.recorded == f"its call of sleep ({line(slow, 'await sleep')}) began"


async def test_other_arguments(scene: Scene) -> None:
    error = await parted(scene, moody, moody, first="changed")

    assert error.message == (
        f"run 'order:7' makes its 1st call of write ({line(moody, 'first')})"
        " with other arguments than before it was interrupted"
    )


async def test_what_is_said_of_a_run_when_the_code_is_checked_is_the_same(scene: Scene) -> None:
    await scene.interrupt(before, 1, at="last", id="order:7")
    async with scene.runtime(no_such_step) as rt:
        (verdict,) = await rt.check()

    assert verdict.answer == "does-not-fit"
    assert verdict.reason.startswith("run 'order:7' does not fit the code of order: its 1st call of write")


@pytest.mark.parametrize("way", ["write", "read"])
async def test_a_run_goes_on_whose_step_was_looked_up_when_it_ran(scene: Scene, way: str) -> None:
    await scene.interrupt(by_table, way, at="last")
    async with scene.runtime(by_table, store=scene.view(), ttl=1) as rt:
        (verdict,) = await rt.check()
        assert verdict.answer == "unknown"
        assert "WAYS[way] is looked up when it runs" in verdict.reason
        assert await (await rt.handle("run")).result() == Ok("abclast")

    assert scene.log.count("a") == scene.log.count("b") == 1
