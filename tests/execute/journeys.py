"""Representative workflows for the enumeration of crash points."""

import asyncio

from awaitly import Ok, each, gather, now, race, random, settle, sleep, timeout, workflow
from tests.properties.steps import (
    Boom,
    again,
    again_read,
    braked,
    cached,
    keyed,
    none,
    note,
    once,
    patient,
    read,
    refused,
    replaced,
    seated,
    write,
)


@workflow
async def sequence(x: int) -> int:
    for tag in (1, 2, 3):
        x = await write(tag, x, False)
        note(tag, x)
    return x


async def lane(x: int) -> int:
    x = await write(1, x, False)
    note("first", x)
    x = await read(2, x, False)
    note("second", x)
    x = await write(3, x, False)
    note("third", x)
    return x


@workflow
async def lanes(x: int) -> int:
    a, b, c = await gather(lane(x), lane(x + 1), lane(x + 2))
    return (a + b + c) % 1009


@workflow
async def mapping(x: int) -> int:
    async def item(i: int) -> int:
        x = await write(i, i, False)
        note(i, x)
        return x

    return sum(await each(item, range(x), concurrency=2)) % 1009


async def runner(x: int) -> int:
    x = await read(1, x, False)
    note("ran", x)
    return await write(2, x, False)


@workflow
async def competition(x: int) -> int:
    winner = await race(runner(1), runner(2), runner(3))
    note("winner", winner)
    return await write(9, 0, False)


@workflow
async def leaf(x: int) -> int:
    x = await write(1, x, False)
    note("leaf", x)
    return await write(2, x, False)


@workflow
async def family(x: int) -> int:
    x = await leaf(x)
    note("child", x)
    a, b = await gather(leaf(x), leaf(x + 1))
    return await write(3, (a + b) % 1009, False)


@workflow
async def recovering(x: int) -> int:
    try:
        x = await write(1, x, False)
        x = await write(2, x, True)
    except Boom as boom:
        note("caught", boom.tag)
        x = await write(3, boom.tag, False)
    finally:
        x = await write(4, x, False)
        note("finally", x)
    results = await settle(write(5, x, False), write(6, x, True))
    return sum(result.value if isinstance(result, Ok) else 7 for result in results) % 1009


@workflow
async def precious(x: int) -> int:
    x = await once(1, x, False)
    note("once", x)
    x = await once(2, x, False)
    return (x + await keyed(1) + await keyed(1)) % 1009


@workflow
async def reading(x: int) -> int:
    for tag in range(6):
        x = await read(tag, x, False)
        x = await none(tag, x, False)
        note("read", x)
    x = await write(7, x, False)
    note("random", random())
    return await read(8, x, False)


@workflow
async def waiting(x: int) -> int:
    note("now", now().isoformat())
    await sleep("10s")
    note("slept")
    try:
        async with timeout("3s"):
            x = await write(1, x, False)
            await sleep("1h")
    except TimeoutError:
        note("over")
    return await write(2, x, False)


async def idle(x: int) -> int:
    return x


async def nest(x: int) -> int:
    x = await read(1, x, False)
    a, b = await asyncio.gather(idle(x), idle(x + 1))
    return (a + b) % 1009


@workflow
async def nested(x: int) -> int:
    try:
        for _ in range(3):
            (x,) = await asyncio.gather(nest(x))
            note("nest", x)
            await asyncio.create_task(nest(x))
            x = await none(2, x, False)
    finally:
        x = await write(3, x, False)
        note("finally", x)
    return x


@workflow
async def persistent(x: int) -> int:
    x = await again(1, x, False)
    note("again", x)
    x = await patient(2, x, False)
    note("patient", x)
    x = await again_read(4, x, False)
    try:
        x = await patient(5, x, True)
    except Boom as boom:
        note("caught", boom.tag)
    return await refused(2, x, False)


async def guarded(x: int) -> int:
    x = await seated(1, x, False)
    note("seated", x)
    return await cached(2, 7, False)


@workflow
async def crowded(x: int) -> int:
    a, b, c = await gather(guarded(x), guarded(x + 1), patient(1, x, False))
    note("guarded", a, b, c)
    return await braked(4, (a + b + c) % 1009, False)


@workflow
async def substituted(x: int) -> int:
    x = await replaced(1, x, False)
    note("replaced", x)
    winner = await race(patient(2, x, False), again(1, x, False), refused(1, x, False))
    note("winner", winner)
    try:
        async with timeout("1s"):
            await patient(4, x, False)
    except TimeoutError:
        note("over")
    return await replaced(3, x, False)


JOURNEYS = (
    sequence, lanes, mapping, competition, family, recovering, precious, reading, waiting, nested, persistent, crowded,
    substituted,
)  # fmt: skip
