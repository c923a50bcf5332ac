"""Never executed: mistakes with steps and workflows that every type checker must report, one a marked line."""

from awaitly import Err, Failure, Ok, Result, gather, step, workflow


class SoldOut(Failure):
    sku: str


@step
async def fetch(user: int) -> str:
    return str(user)


@step(errors=SoldOut)
async def find(sku: str) -> int:
    return len(sku)


@workflow(errors=SoldOut)
async def order(sku: str) -> int:
    return await find(sku)


async def arguments() -> None:
    await fetch("1")  # reject
    await fetch()  # reject
    await fetch(1, 2)  # reject
    await order.run(5)  # reject
    await order.options(id=5).run("a")  # reject
    await order.options(ident="a").run("a")  # reject


async def results() -> None:
    number: int = await fetch(1)  # reject
    text: str = await order("a")  # reject
    (one,) = await gather(fetch(1), find("a"))  # reject
    (await order.run("a")).value  # reject
    print(number, text, one)


def options() -> None:
    step(retires=3)  # reject
    step(effect="sometimes")  # reject
    step(timeout=[1])  # reject
    step(errors=5)  # reject
    workflow(durable="yes")  # reject


def matched(result: Result[int, SoldOut]) -> int:
    match result:
        case Ok(value):
            return value
        case Err(error):
            return error.sku  # reject
