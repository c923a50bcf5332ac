"""A child run and its parent, when the store does not answer."""

from typing import Any

from awaitly import Err, Ok, workflow
from awaitly.errors import RunCancelled, StoreError
from awaitly.model.state import Status
from tests.execute.scene import Scene, read, write


@workflow
async def leaf(name: str) -> str:
    return await write(name)


@workflow
async def parent(name: str) -> str:
    return await leaf(name)


@workflow
async def patient(name: str) -> str:
    return await read(name)


@workflow
async def parent_of_patient(name: str) -> str:
    return await patient(name)


def test_a_parent_whose_child_cannot_be_started_goes_on_when_the_store_is_back(scene: Scene) -> None:
    append, failed = scene.memory.append, []

    async def failing(batch: Any) -> Any:
        if not failed and any(each.run == "run/leaf#0" for each in batch):
            failed.append(batch)
            raise StoreError("the store is away", code="store-unavailable")
        return await append(batch)

    scene.memory.append = failing  # type: ignore[method-assign]  # the store blips

    async def story() -> None:
        async with scene.runtime(parent, leaf) as rt:
            handle = await rt.start(parent.options(id="run"), "a")
            await scene.clock.advance("30s")
            assert await handle.status() is Status.SUCCEEDED
            assert await handle.result() == Ok("a")
        assert failed

    scene.play(story())


def test_the_request_to_cancel_a_child_is_repeated_until_it_is_stored(scene: Scene) -> None:
    request, failed = scene.memory.request_cancel, []

    async def failing(run: str, reason: str) -> bool:
        if run != "run" and len(failed) < 3:
            failed.append(run)
            raise StoreError("the store is away", code="store-unavailable")
        return await request(run, reason)

    scene.memory.request_cancel = failing  # type: ignore[method-assign]  # the store blips

    async def story() -> None:
        scene.hold("a")
        async with scene.runtime(parent_of_patient, patient) as rt:
            handle = await rt.start(parent_of_patient.options(id="run"), "a")
            await scene.until("a")
            await handle.cancel("no more")
            result = await handle.result()
            assert isinstance(result, Err)
            assert isinstance(result.error, RunCancelled)
            assert (await rt.record("run/patient#0")).status is Status.CANCELLED
        assert len(failed) == 3

    scene.play(story())
