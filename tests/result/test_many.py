from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from awaitly.result import Err, Ok, Result, collect, collect_async, partition, partition_async, zip_results

MIXED: list[Result[int, str]] = [Ok(1), Err("ODD"), Ok(2), Err("LATE")]


async def answer(result: Result[int, str]) -> Result[int, str]:
    return result


async def stream(results: list[Result[int, str]]) -> AsyncIterator[Result[int, str]]:
    for result in results:
        yield result


def test_collect_gives_all_values() -> None:
    assert collect([Ok(1), Ok(2)]) == Ok([1, 2])


def test_collect_of_nothing_is_an_empty_list() -> None:
    assert collect([]) == Ok([])


def test_collect_gives_the_first_error() -> None:
    assert collect(MIXED) == Err("ODD")


def test_collect_does_not_look_past_an_error() -> None:
    def results() -> Iterator[Result[int, str]]:
        yield Err("ODD")
        pytest.fail("it looked on")

    assert collect(results()) == Err("ODD")


def test_partition_keeps_the_order_of_values_and_errors() -> None:
    assert partition(MIXED) == ([1, 2], ["ODD", "LATE"])


def test_zip_results_gives_a_tuple() -> None:
    assert zip_results(Ok(1), Ok("a"), Ok(None)) == Ok((1, "a", None))


def test_zip_results_gives_the_first_error() -> None:
    assert zip_results(Ok(1), Err("ODD"), Err("LATE")) == Err("ODD")


def test_zip_results_takes_any_number() -> None:
    assert zip_results() == Ok(())
    assert zip_results(*map(Ok, range(9))) == Ok(tuple(range(9)))


def test_collect_async_awaits_each_in_turn(run: Callable) -> None:
    assert run(collect_async(answer(result) for result in [Ok(1), Ok(2)])) == Ok([1, 2])


def test_collect_async_reads_a_stream(run: Callable) -> None:
    assert run(collect_async(stream([Ok(1), Ok(2)]))) == Ok([1, 2])


def test_collect_async_begins_nothing_after_an_error(run: Callable) -> None:
    begun: list[Result[int, str]] = []

    async def observed(result: Result[int, str]) -> Result[int, str]:
        begun.append(result)
        return result

    assert run(collect_async(observed(result) for result in MIXED)) == Err("ODD")
    assert begun == [Ok(1), Err("ODD")]


def test_collect_async_closes_the_coroutines_of_a_list_that_it_gives_up(run: Callable) -> None:
    coroutines = [answer(result) for result in MIXED]

    assert run(collect_async(coroutines)) == Err("ODD")
    assert [coroutine.cr_frame for coroutine in coroutines] == [None] * 4


@pytest.mark.parametrize("together", [collect_async, partition_async])
def test_coroutines_after_one_that_raises_are_closed(run: Callable, together: Callable) -> None:
    async def fail() -> Result[int, str]:
        raise ConnectionError("no answer")

    coroutines = [fail(), answer(Ok(1))]

    with pytest.raises(ConnectionError):
        run(together(coroutines))

    assert coroutines[1].cr_frame is None


def test_partition_async_awaits_all(run: Callable) -> None:
    assert run(partition_async([answer(result) for result in MIXED])) == ([1, 2], ["ODD", "LATE"])


def test_partition_async_reads_a_stream(run: Callable) -> None:
    assert run(partition_async(stream(MIXED))) == ([1, 2], ["ODD", "LATE"])
