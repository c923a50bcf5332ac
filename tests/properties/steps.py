"""The steps of generated workflows: each asks the world of the test what happens."""

from awaitly import Failure, step
from tests.properties import world


class Boom(Failure):
    tag: int


@step(effect="write", errors=Boom)
async def write(tag: int, x: int, fails: bool) -> int:
    return await act("write", tag, x, fails)


@step(effect="read", errors=Boom)
async def read(tag: int, x: int, fails: bool) -> int:
    return await act("read", tag, x, fails)


@step(effect="none", errors=Boom)
async def none(tag: int, x: int, fails: bool) -> int:
    return await act("none", tag, x, fails)


@step(effect="once", on_ambiguous="retry", errors=Boom)
async def once(tag: int, x: int, fails: bool) -> int:
    return await act("once", tag, x, fails)


@step(key="k:{k}")
async def keyed(k: int) -> int:
    return await world.current_world().act("write", k, 0)


async def act(effect: str, tag: int, x: int, fails: bool) -> int:
    found = await world.current_world().act(effect, tag, x)
    if fails:
        raise Boom(tag)
    return found


def note(*entry: object) -> None:
    """What the body observes, in the order in which it does."""
    world.current_world().note(entry)
