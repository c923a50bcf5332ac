"""One name, one workflow: runs are stored and found by it."""

import sys

import pytest

from awaitly import Ok, Workflow, workflow
from awaitly.errors import ConfigurationError
from awaitly.runtime import Runtime
from tests.execute.scene import Scene, write


@workflow(name="order")
async def first() -> str:
    return await write("first")


@workflow(name="order")
async def second() -> str:
    return await write("second")


def test_a_second_workflow_of_a_name_is_refused_and_both_places_are_named(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime() as rt:
            assert await first.run() == Ok("first")
            with pytest.raises(ConfigurationError, match=r"first in .*test_names\.py:\d+ and second in") as caught:
                await second.run()
            assert caught.value.code == "duplicate-workflow-name"
            assert [record.workflow for record in await rt.runs()] == ["order"]

    scene.play(story())


def test_two_workflows_of_a_name_are_refused_when_they_are_given_to_a_runtime() -> None:
    with pytest.raises(ConfigurationError, match="two workflows are named order"):
        Runtime(store="memory://", workflows=[first, second])


def test_a_workflow_with_options_for_a_run_is_the_same_workflow(scene: Scene) -> None:
    async def story() -> None:
        async with scene.runtime(first):
            assert await first.options(id="run").run() == Ok("first")

    scene.play(story())


def test_a_workflow_that_a_module_defines_again_replaces_the_one_before(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[__name__]

    def renamed(found: Workflow[[], str, Exception]) -> None:
        monkeypatch.setattr(found.fn, "__qualname__", "order")
        monkeypatch.setattr(module, "order", found, raising=False)

    async def story() -> None:
        async with scene.runtime():
            renamed(first)
            assert await first.run() == Ok("first")
            renamed(second)
            assert await second.run() == Ok("second")

    scene.play(story())
