"""The graph of a body has a node for everything that happens in it, in the order in which it happens."""

# ruff: noqa: E731 - odd code is what is tested
import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from awaitly.declare.combinators import each, gather, now, race, settle, sleep, timeout
from awaitly.declare.step import step
from awaitly.declare.workflow import workflow
from tests.compile.outline import expected, outline


class Declined(Exception): ...


@step
async def fetch(user: str) -> str: ...


@step(errors=Declined)
async def charge(order: str, amount: int = 1) -> str: ...


@step
def reserve(order: str) -> str: ...


@workflow
async def child(order: str) -> str:
    return order


def check(body: Any, text: str) -> None:
    assert outline(body) == expected(text)


def test_arguments_come_before_the_call_that_they_are_for() -> None:
    @workflow
    async def body(order: str) -> str:
        return await charge(await fetch(order), amount=len(await reserve(order)))

    check(
        body,
        """
        fetch fetch#0(user=order)
        reserve reserve#0(order=order)
        charge charge#0(order=fetch#0; amount=reserve#0)
        return await charge(await fetch(order), amount=len(await reserve(order)))
        """,
    )


def test_data_flows_through_names_unpacking_gather_and_items() -> None:
    @workflow
    async def body(order: str, orders: list[str]) -> None:
        user, stock = await gather(fetch(order), reserve(order))
        (a, b), c = (user, stock), 3
        await charge(a, c)
        await charge(b + user)
        for one in orders:
            await charge(one)
        paid = [await charge(f"{order}-{x}") for x in "ab"]
        await fetch(paid[0].upper())

    check(
        body,
        """
        parallel gather gather#0
            fetch fetch#0(user=order)
            reserve reserve#0(order=order)
        charge charge#0(order=fetch#0; amount=3)
        charge charge#1(order=reserve#0,fetch#0)
        for loop for one in orders
            charge charge#2(order=orders)
        comprehension loop for x in 'ab'
            charge charge#3(order=order,'-','ab')
        fetch fetch#1(user=charge#3,0)
        """,
    )


def test_branches() -> None:
    @workflow
    async def body(order: str) -> str | None:
        if order == "a":
            await charge(order)
        elif order == "b":
            return None
        elif await fetch(order):
            await reserve(order)
        if order == "quiet":
            print(order)
        await (charge(order) if order else reserve(order))
        return (order and await fetch(order)) or await reserve(order)

    check(
        body,
        """
        if order == 'a'
            - order == 'a'
                charge charge#0(order=order)
            - order == 'b'
                return None
            - else
                fetch fetch#0(user=order)
                if await fetch(order)
                    - await fetch(order)
                        reserve reserve#0(order=order)
                    - else
        conditional order
            - order
                charge charge#1(order=order)
            - else
                reserve reserve#1(order=order)
        short-circuit order and await fetch(order)
            - and
                fetch fetch#1(user=order)
        short-circuit order and await fetch(order) or await reserve(order)
            - or
                reserve reserve#2(order=order)
        return order and await fetch(order) or await reserve(order)
        """,
    )


def test_match() -> None:
    @workflow
    async def body(order: Any) -> None:
        match await fetch(order):
            case "a" | "b":
                await charge(order)
            case [x, *_] if await reserve(x):
                raise Declined
        match order:
            case {"id": str(id)}:
                await charge(id)
            case _:
                pass

    check(
        body,
        """
        fetch fetch#0(user=order)
        match await fetch(order)
            - 'a' | 'b'
                charge charge#0(order=order)
            - [x, *_] if await reserve(x)
                reserve reserve#0(order=)
                raise Declined
            - no match
        match order
            - {'id': str(id)}
                charge charge#1(order=)
            - _
        """,
    )


def test_loops_with_their_else() -> None:
    @workflow
    async def body(orders: list[str]) -> None:
        for order in orders:
            if await charge(order):
                break
        else:
            await reserve("none")
        while more := await fetch("page"):
            await charge(more)
        else:
            await reserve("done")
        async for page in pages("a"):
            await charge(page)
        for _ in orders:
            print(_)

    check(
        body,
        """
        for loop for order in orders
            charge charge#0(order=orders)
        else
            reserve reserve#0(order='none')
        while loop (more := (await fetch('page')))
            fetch fetch#0(user='page')
            charge charge#1(order=fetch#0)
        else
            reserve reserve#1(order='done')
        helper pages pages#0
            fetch at pages:fetch#0(user=order)
        async for loop for page in pages('a')
            charge charge#2(order='a')
        """,
    )


async def pages(order: str) -> AsyncIterator[str]:
    yield await fetch(order)


def test_comprehensions() -> None:
    @workflow
    async def body(orders: list[str]) -> Any:
        first = [await charge(x + y) for x in await fetch("a") if await reserve(x) for y in x]
        second = {await fetch(x): await charge(x) async for x in pages("b")}
        return first, second

    check(
        body,
        """
        fetch fetch#0(user='a')
        comprehension loop for x in await fetch('a')
            reserve reserve#0(order=fetch#0)
            charge charge#0(order=fetch#0)
        helper pages pages#0
            fetch at pages:fetch#0(user=order)
        comprehension loop for x in pages('b')
            fetch fetch#1(user='b')
            charge charge#1(order='b')
        return (first, second)
        """,
    )


def test_try() -> None:
    @workflow
    async def body(order: str) -> None:
        try:
            await charge(order)
        except (Declined, ValueError):
            await reserve(order)
        except TimeoutError as error:
            raise KeyError from error
        except:
            raise
        else:
            await fetch(order)
        finally:
            await reserve(order)
        try:
            await charge(order)
        except* Declined:
            await fetch(order)

    check(
        body,
        """
        try
            charge charge#0(order=order)
        except tests.compile.test_nodes:Declined, builtins:ValueError
            reserve reserve#0(order=order)
        except builtins:TimeoutError
            raise KeyError
        except *
            raise
        else
            fetch fetch#0(user=order)
        finally
            reserve reserve#1(order=order)
        try
            charge charge#1(order=order)
        except tests.compile.test_nodes:Declined
            fetch fetch#1(user=order)
        """,
    )


def test_at_the_same_time() -> None:
    @workflow
    async def body(orders: list[str]) -> None:
        await asyncio.gather(charge("a"), reserve(await fetch("b")))
        await settle(*(charge(x) for x in orders), fetch("c"))
        await race(charge("d"), reserve("e"))
        await each(charge, orders, concurrency=2)
        await each(lambda order: charge(order, 2), orders)
        await gather(*map(charge, orders))

    check(
        body,
        """
        fetch fetch#0(user='b')
        parallel asyncio.gather asyncio.gather#0
            charge charge#0(order='a')
            reserve reserve#0(order=fetch#0)
        parallel settle settle#0
            comprehension loop for x in orders
                charge charge#1(order=orders)
            fetch fetch#1(user='c')
        race race#0
            charge charge#2(order='d')
            reserve reserve#1(order='e')
        parallel each each#0
            charge at each#0()
        parallel each each#1
            helper body.<locals>.<lambda> each#1
                charge charge#3(order=order; amount=2)
        parallel gather gather#0
            comprehension loop map(charge, orders)
                charge at gather#0()
        """.replace("body.<locals>", f"{body.__qualname__}.<locals>"),
    )


def test_task_groups_and_tasks() -> None:
    @workflow
    async def body(orders: list[str]) -> None:
        async with asyncio.TaskGroup() as tg:
            tasks = [tg.create_task(charge(order)) for order in orders]
            await fetch("between")
        later = asyncio.create_task(reserve("a"))
        await later
        for task in tasks:
            await task

    check(
        body,
        """
        parallel TaskGroup asyncio.TaskGroup#0
            comprehension loop for order in orders
                parallel create_task tg.create_task#0
                    charge charge#0(order=orders)
            fetch fetch#0(user='between')
        parallel create_task asyncio.create_task#0
            reserve reserve#0(order='a')
        """,
    )


def test_waits() -> None:
    @workflow
    async def body(order: str) -> None:
        await sleep("1s")
        async with timeout("5s"):
            await charge(order)
        now()

    check(
        body,
        """
        wait sleep sleep#0
        wait timeout timeout#0
            charge charge#0(order=order)
        """,
    )


def test_children_attempts_and_handles() -> None:
    @workflow
    async def body(order: str) -> None:
        await charge.attempt(order)
        await child(order)
        await child.options(id=await fetch(order)).run(order)
        handle = await child.start(order)
        await handle.result()

    check(
        body,
        """
        charge charge#0(order=order) attempt
        child child child#0
        fetch fetch#0(user=order)
        child child child#1
        child child child#2
        """,
    )


def test_steps_by_other_names() -> None:
    @workflow
    async def body(order: str, quick: bool) -> None:
        pay = functools.partial(charge, amount=3)
        await pay(order)
        act = charge if quick else reserve
        await act(order)
        for one in (fetch, reserve):
            await one(order)
        from tests.compile.test_nodes import charge as imported

        await imported(order)
        await STEPS["pay"](order)

    check(
        body,
        """
        charge charge#0(order=order)
        conditional act
            - charge
                charge at act#0(order=order)
            - reserve
                reserve at act#0(order=order)
        for loop for one in (fetch, reserve)
            conditional one
                - fetch
                    fetch at one#0(user=order)
                - reserve
                    reserve at one#0(order=order)
        charge charge#1(order=order)
        charge charge#2(order=order)
        """,
    )


STEPS = {"pay": charge}


class Service:
    kind = "card"

    async def pay(self, order: str) -> str:
        return await charge(order)

    @staticmethod
    async def back(order: str) -> str:
        return await reserve(order)

    async def __aenter__(self) -> "Service":
        await fetch("in")
        return self

    async def __aexit__(self, *_: object) -> None: ...


service = Service()


async def countdown(order: str, left: int) -> None:
    await charge(order)
    if left:
        await countdown(order, left - 1)


@asynccontextmanager
async def reserved(order: str) -> AsyncIterator[str]:
    yield await reserve(order)


def total(order: str) -> int:
    return len(order)


def test_helpers_are_followed_and_recursion_ends() -> None:
    @workflow
    async def body(order: str) -> None:
        await countdown(order, total(order))
        await service.pay(order)
        await Service.back(order)
        async with reserved(order) as _, Service():
            pass

    check(
        body,
        """
        helper countdown countdown#0
            charge at countdown:charge#0(order=order)
            if left
                - left
                    helper countdown countdown:countdown#0 again
                - else
        helper Service.pay service.pay#0
            charge at Service.pay:charge#0(order=order)
            return await charge(order)
        helper Service.back Service.back#0
            reserve at Service.back:reserve#0(order=order)
            return await reserve(order)
        helper reserved reserved#0
            reserve at reserved:reserve#0(order=order)
        helper Service.__aenter__ Service#0
            fetch at Service.__aenter__:fetch#0(user='in')
            return self
        """,
    )


def test_nested_functions_are_part_of_the_body() -> None:
    @workflow
    async def body(orders: list[str]) -> None:
        async def one(order: str) -> str:
            return await charge(order)

        pay = lambda order: one(order)
        await asyncio.gather(*[one(order) for order in orders])
        await pay("a")

    name = f"{body.__qualname__}.<locals>"
    check(
        body,
        f"""
        parallel asyncio.gather asyncio.gather#0
            comprehension loop for order in orders
                helper {name}.one one#1
                    charge charge#0(order=order)
                    return await charge(order)
        helper {name}.<lambda> pay#0
            helper {name}.one one#0
                charge charge#0(order=order)
                return await charge(order)
        """,
    )


def test_an_unawaited_step_is_marked() -> None:
    @workflow
    async def body(order: str) -> None:
        charge(order)  # type: ignore[unused-coroutine]  # not awaited

    check(body, "charge charge#0(order=order) not awaited")


class Base:
    async def pay(self, order: str) -> str:
        return await charge(order)


class Shop(Base):
    async def sell(self, order: str) -> str:
        await self.hold(order)
        return await self.pay(order)

    async def pay(self, order: str) -> str:
        return await super().pay(order)

    @classmethod
    async def hold(cls, order: str) -> str:
        return await cls.held(order)

    @staticmethod
    async def held(order: str) -> str:
        return await reserve(order)


def test_methods_that_call_methods_of_their_object() -> None:
    @workflow
    async def body(order: str) -> None:
        shop = Shop()
        await shop.sell(order)

    check(
        body,
        """
        helper Shop.sell shop.sell#0
            helper Shop.hold Shop.sell:self.hold#0
                helper Shop.held Shop.hold:cls.held#0
                    reserve at Shop.held:reserve#0(order=order)
                    return await reserve(order)
                return await cls.held(order)
            helper Shop.pay Shop.sell:self.pay#0
                helper Base.pay Shop.pay:super().pay#0
                    charge at Base.pay:charge#0(order=order)
                    return await charge(order)
                return await super().pay(order)
            return await self.pay(order)
        """,
    )


def test_names_that_swap_steps() -> None:
    @workflow
    async def body(order: str) -> None:
        one, two = charge, reserve
        await one(order)
        await two(order)

    check(body, "charge charge#0(order=order)\nreserve reserve#0(order=order)")


def test_a_helper_that_is_called_twice_is_there_twice() -> None:
    @workflow
    async def body(order: str) -> None:
        await Service.back(order)
        await Service.back(order)

    inside = "    reserve at Service.back:reserve#0(order=order)\n    return await reserve(order)\n"
    assert outline(body) == "".join(f"helper Service.back Service.back#{number}\n{inside}" for number in (0, 1))


def _paying(act: Any) -> Any:
    async def pay(order: str) -> str:
        return await act(order)

    return pay


by_card, by_stock = _paying(charge), _paying(reserve)


def test_helpers_that_share_their_code_share_their_places() -> None:
    @workflow
    async def body(order: str) -> None:
        await by_card(order)
        await by_stock(order)

    text = outline(body)
    assert text.count("charge at _paying.pay:act#0(order=order)") == 2
    assert text.count("reserve at _paying.pay:act#0(order=order)") == 2
