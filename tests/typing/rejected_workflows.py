"""Never executed: mistakes with steps and workflows that every type checker must report, one a marked line."""

from awaitly import (
    Breaker,
    Cache,
    Concurrency,
    Err,
    Failure,
    Fallback,
    Flag,
    Hedge,
    Ok,
    Policies,
    RateLimit,
    Result,
    Retry,
    Runtime,
    gather,
    step,
    workflow,
)


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
    step(retry="often")  # reject
    step(breaker=RateLimit(limit=1))  # reject
    step(limiter=Breaker())  # reject
    step(limiter=[Retry()])  # reject
    step(cache=Hedge(1))  # reject
    step(hedge=Cache("1h"))  # reject
    step(fallback="nobody")  # reject
    step(deadline=Retry())  # reject
    step(policies=Retry())  # reject
    find.variant()  # reject
    find.variant(flag=5)  # reject
    find.variant(flag="new", when=None)  # reject
    find.variant(flag="new", retry="often")  # reject
    find.variant(flag="new", effect="read")  # reject


def policies() -> None:
    Retry(attempts="3")  # reject
    Retry(backoff="quadratic")  # reject
    Retry(jitter="some")  # reject
    Retry(on="OSError")  # reject
    Breaker(5)  # reject
    Breaker("stripe", when_open="retry")  # reject
    RateLimit("stripe")  # reject
    RateLimit("stripe", limit="10")  # reject
    Concurrency(limit=1, mode="drop")  # reject
    Cache(ttl=None)  # reject
    Hedge()  # reject
    Fallback(5)  # reject
    Policies(Retry())  # reject
    Policies(retries=3)  # reject
    Flag(5)  # reject
    Flag("new", default=None)  # reject
    Flag("new", default=["on"])  # reject


async def ask(user: int) -> str:
    return str(user)


def plain(user: int) -> str:
    return str(user)


async def by_hand() -> None:
    await Retry()(ask)("1")  # reject
    await Retry().call(ask, "1")  # reject
    await Breaker().call(ask)  # reject
    await RateLimit(limit=1)(ask)(1, 2)  # reject
    await Policies().call(ask, user="1")  # reject
    await Policies().call(plain, 1)  # reject
    number: int = await Policies()(ask)(1)  # reject
    print(number)


@find.variant(flag="a")  # reject
async def find_with_other_parameters(sku: int) -> int:
    return sku


@find.variant(flag="b")  # reject
async def find_with_fewer_parameters() -> int:
    return 1


@find.variant(flag="c")  # reject
async def find_another_result(sku: str) -> str:
    return sku


@find.variant(flag="d")  # reject
def find_another_result_in_a_thread(sku: str) -> str:
    return sku


@find.variant(flag="e")  # reject
async def find_with_other_names(number: str) -> int:
    return len(number)


async def flags(runtime: Runtime) -> None:
    order.options(flags=["new"])  # reject
    order.options(flags={"new": None})  # reject
    order.options(flags={5: True})  # reject
    await runtime.fork("order:1", flags=True)  # reject
    await runtime.fork("order:1", flags={"new": ["on"]})  # reject
    Runtime(flags=5)  # reject
    Runtime(flags=plain)  # reject


def matched(result: Result[int, SoldOut]) -> int:
    match result:
        case Ok(value):
            return value
        case Err(error):
            return error.sku  # reject
