"""Text that is no valid Unicode, as file names and arguments can be: it never stops a run."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import ValidationError

from awaitly import Err, Failure, Ok, Retry, Runtime, UnexpectedError, Workflow, sleep, step, workflow
from awaitly.errors import RunCancelled, RunNotFound, Unserialisable
from awaitly.execute.outcomes import encoded
from awaitly.model.facts import Ending
from awaitly.persist.codec.failures import ErrorCodec
from awaitly.testing.clock import VirtualClock
from tests.execute.scene import Scene, new_scene

CAFE = os.fsdecode(b"/data/caf\xe9.txt")
SHOWN = "/data/caf\\udce9.txt"


class Unread(Failure):
    path: str


def read(x: str) -> str:
    with open(CAFE) as file:
        return file.read()


@step(effect="none")
async def reading(x: str) -> str:
    return read(x)


@step(effect="none", retry=Retry(2, initial="1500ms", jitter=False))
async def reading_later(x: str) -> str:
    return read(x)


@step(effect="none", errors=Unread)
async def refusing(x: str) -> str:
    raise Unread(CAFE)


@step(effect="none")
async def named(x: str) -> str:
    return CAFE


@step(effect="none")
async def taking(x: str) -> str:
    return "taken"


@step(effect="none", key="{x}")
async def taking_one(x: str) -> str:
    return "taken"


@workflow
async def reads(x: str) -> str:
    return await reading(x)


@workflow
async def reads_later(x: str) -> str:
    return await reading_later(x)


@workflow
async def reads_itself(x: str) -> str:
    return read(x)


@workflow
async def refuses(x: str) -> str:
    return await refusing(x)


@workflow
async def refuses_itself(x: str) -> str:
    raise Unread(CAFE)


@workflow
async def waits() -> None:
    await sleep("1h")


@workflow
async def names(x: str) -> str:
    return await named(x)


@workflow
async def names_itself(x: str) -> str:
    return CAFE


@workflow
async def parent(x: str) -> str:
    return await reads_itself(x)


@workflow
async def passes_on(x: str) -> str:
    return await taking(CAFE)


@workflow
async def passes_on_as_a_key(x: str) -> str:
    return await taking_one(CAFE)


@workflow
async def passes_to_a_child(x: str) -> str:
    return await reads(CAFE)


@workflow
async def catches(x: str) -> str:
    try:
        return await passing_on()
    except Unserialisable as error:
        return str(error)


async def passing_on() -> str:
    return await taking(CAFE)


FAILING = [
    (reads, f"No such file or directory: '{SHOWN}'"),
    (reads_later, f"No such file or directory: '{SHOWN}'"),
    (reads_itself, f"No such file or directory: '{SHOWN}'"),
    (refuses, f"errors= of step refusing: error.path: text in it is not valid Unicode: str '{SHOWN}'"),
    (refuses_itself, f"errors= of workflow refuses_itself: error.path: text in it is not valid Unicode: str '{SHOWN}'"),
    (names, f"named returned what cannot be stored: text in it is not valid Unicode: str '{SHOWN}'"),
    (names_itself, f"names_itself returned what cannot be stored: text in it is not valid Unicode: str '{SHOWN}'"),
    (parent, f"No such file or directory: '{SHOWN}'"),
    (passes_on, f"taking: argument x: text in it is not valid Unicode: str '{SHOWN}'"),
    (passes_on_as_a_key, f"the key '{{x}}' of step taking_one is '{SHOWN}'"),
    (passes_to_a_child, f"reads: argument x: text in it is not valid Unicode: str '{SHOWN}'"),
]


@pytest.mark.parametrize(("flow", "said"), FAILING, ids=[flow.name for flow, _ in FAILING])
def test_a_run_fails_with_what_cannot_be_written_and_says_where_it_was(
    flow: Workflow[..., Any, Any], said: str, scene: Scene
) -> None:
    ended = scene.play(scene.run(flow, "x"))

    assert isinstance(ended, Err)
    assert isinstance(ended.error, UnexpectedError)
    assert said in ended.error.message
    assert scene.facts("run")[-1].startswith("RunFinished")


@pytest.mark.parametrize(("flow", "said"), FAILING, ids=[flow.name for flow, _ in FAILING])
def test_what_is_stored_of_it_says_the_same(flow: Workflow[..., Any, Any], said: str, scene: Scene) -> None:
    live = scene.play(scene.run(flow, "x"))

    stored = scene.play(scene.run(flow, "x"))

    assert str(stored.error) == str(live.error)


def test_a_body_may_handle_it(scene: Scene) -> None:
    ended = scene.play(scene.run(catches, "x"))

    assert isinstance(ended, Ok)
    assert "not valid Unicode" in ended.value


def test_an_id_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(Exception, match="cannot be the id of a run"):
        new_scene().play(_start_as(CAFE))


async def _start_as(name: str) -> None:
    async with new_scene().runtime() as rt:
        await rt.start(reads.options(id=name), "x")


def test_a_run_can_be_cancelled_for_any_reason(tmp_path: Path) -> None:
    clock = VirtualClock()

    async def story() -> Any:
        async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", clock=clock) as rt:
            handle = await rt.start(waits)
            await handle.cancel(CAFE)
            return await handle.result()

    ended = clock.run(story())

    assert isinstance(ended, Err)
    assert isinstance(ended.error, RunCancelled)
    assert ended.error.message == SHOWN


def test_there_is_no_run_with_an_id_that_cannot_be_written(tmp_path: Path) -> None:
    clock = VirtualClock()

    async def story() -> None:
        async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", clock=clock) as rt:
            for asked in (rt.handle(CAFE), rt.facts(CAFE), rt.retry(CAFE)):
                with pytest.raises(RunNotFound):
                    await asked

    clock.run(story())


# Whatever an error says and carries.

ANY_TEXT = st.text(st.characters(), max_size=20) | st.text(st.sampled_from("a\ud800\udce9\x00é"), max_size=5)
CODEC = ErrorCodec((Unread, Exception))


def _nested(depth: int) -> Any:
    inner: Any = []
    for _ in range(depth):
        inner = [inner]
    return inner


@st.composite
def errors(draw: st.DrawFn) -> BaseException:
    text = draw(ANY_TEXT)
    error: BaseException = draw(
        st.sampled_from(
            [
                ValueError(text),
                OSError(2, text, text),
                Unread(text),
                KeyError({text: text}),
                ImportError(text, name=text),
                ExceptionGroup(text, [ValueError(text)]),
                UnexpectedError(text, type_name=text, notes=[text], traceback=text),
                ValueError(_nested(draw(st.sampled_from([150, 187, 190, 195, 1000])))),
                ValidationError.from_exception_data("Order", [{"type": "int_type", "loc": ("x",), "input": text}]),
            ]
        )
    )
    if draw(st.booleans()):
        error.add_note(text)
    if draw(st.booleans()):
        error.__cause__ = draw(errors())
    return error


@given(errors())
def test_any_error_can_be_recorded_and_read_again(error: BaseException) -> None:
    unexpected = UnexpectedError.of(error, step="reading")

    for ending, given_error in ((Ending.FAILURE, error), (Ending.UNEXPECTED, unexpected)):
        _, payload, kept = encoded(CODEC, ending, given_error, "reading")
        assert str(CODEC.decode(payload)) == str(kept)
    payload.decode()


@given(ANY_TEXT)
def test_an_unexpected_error_says_all_that_the_original_said(text: str) -> None:
    _, _, kept = encoded(CODEC, Ending.UNEXPECTED, UnexpectedError.of(ValueError(text)), "reading")

    assert kept.message == text.encode(errors="backslashreplace").decode()
