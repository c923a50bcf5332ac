"""Variants: what keeps one from taking its step's place does not compile; the graph shows them all."""

from pathlib import Path
from typing import Any

import pytest

from awaitly import Breaker, Cache, Flag, Result, Retry, Runtime, Step, step, workflow
from awaitly.compile.program import compile_workflow
from awaitly.errors import ConfigurationError
from awaitly.settings import Settings


@step(effect="read", cache=Cache("1h"), timeout="5s")
async def quote(item: str, count: int = 1) -> float:
    return 1.0


@quote.variant(flag="good")
def plain_quote(item: str, count: int = 2) -> float:
    return 1.0


@quote.variant(flag="a")
async def other_names(item: str, number: int = 1) -> float:  # bad-variant
    return 1.0


@quote.variant(flag="b")
async def other_annotation(item: str, count: float = 1) -> float:  # bad-variant
    return 1.0


@quote.variant(flag="c")
async def other_result(item: str, count: int = 1) -> int:  # bad-variant
    return 1


@quote.variant(flag="d")
async def other_shape(item: str, count: int = 1) -> Result[float, str]:  # bad-variant
    raise NotImplementedError


@quote.variant(
    flag="e",
    cache=Cache("1h", key="{itm}"),  # bad-key-template
)
async def bad_key(item: str, count: int = 1) -> float:
    return 1.0


@quote.variant(
    flag="f",
    fallback=max,
)
async def builtin_fallback(item: str, count: int = 1) -> float:
    return 1.0


@quote.variant(
    flag="g",
    fallback=lambda nothing: 1.0,  # bad-fallback
)
async def bad_fallback(item: str, count: int = 1) -> float:
    return 1.0


@step(retry=2)
async def charge(item: str) -> str:
    return item


@charge.variant(
    flag="new-charge",
    hedge="1s",  # unsafe-policy
)
async def hedged_charge(item: str) -> str:
    return item


@workflow
async def mistaken(item: str) -> None:
    await quote(item)
    await charge(item)


CARRIER = Flag("carrier", default="post")


@step
async def ship(item: str) -> str:
    return item


@ship.variant(flag=CARRIER, when="bike", retry=Retry(3), breaker=Breaker("bikes"))
async def by_bike(item: str) -> str:
    return item


@workflow
async def shipping(item: str) -> str:
    return await ship(item)


def test_a_variant_that_cannot_take_its_steps_place_is_found_where_it_is_written() -> None:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    codes = {"bad-variant", "bad-key-template", "bad-fallback", "unsafe-policy"}
    comments = ((number, line.rpartition("  # ")[2]) for number, line in enumerate(lines, start=1))
    marks = [(number, comment) for number, comment in comments if comment in codes]

    found = mistaken.graph.diagnostics

    assert sorted((d.position.line, d.code) for d in found if d.position) == marks


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other_names", "(item, number) instead of (item, count)"),
        ("other_annotation", "count is float instead of int"),
        ("other_result", "it returns int instead of float"),
    ],
)
def test_a_message_says_how_the_signatures_differ(name: str, why: str) -> None:
    found = [d.message for d in mistaken.graph.diagnostics if f"variant {name} " in d.message]

    assert found == [f"variant {name} of step quote has another signature: {why}"]


def test_a_graph_shows_variants_with_their_flags_and_policies() -> None:
    (variant,) = shipping.graph.steps["ship"].variants

    assert (variant.step, variant.function) == ("by_bike", f"{__name__}:by_bike")
    assert (variant.flag, variant.default, variant.when) == ("carrier", "post", "bike")
    assert [str(policy) for policy in variant.policies] == ["retry (attempts 3)", "breaker 'bikes'"]


def test_a_graph_shows_what_settings_make_of_a_variant() -> None:
    settings = Settings(store="memory://", steps={"by-bike": {"retry": {"attempts": 9}, "timeout": "2s"}})
    graph = Runtime(settings, workflows=[shipping]).library.program(shipping).graph

    assert [str(policy) for policy in graph.steps["ship"].variants[0].policies] == [
        "retry (attempts 9)", "breaker 'bikes'", "timeout 2s",
    ]  # fmt: skip
    assert graph.steps["ship"].policies == ()


def looking() -> tuple[Step[..., str, Any], Any]:
    """Return a step without variants, and a workflow that calls it."""

    @step(effect="read", key="look:{item}", cache=Cache("1h", key="{item}"))
    async def look(item: str, page: int = 1) -> str:
        return item

    @workflow
    async def looks(item: str) -> str:
        return await look(item)

    return look, looks


async def look_v2(item: str, page: int = 1) -> str:
    return item


def test_a_variant_changes_no_fingerprint() -> None:
    look, looks = looking()
    before = looks.graph
    look.variant(flag="new-look")(look_v2)

    assert looks.graph.steps["look"].variants != ()
    assert looks.graph.fingerprint == before.fingerprint
    assert looks.graph.steps["look"].fingerprint == before.steps["look"].fingerprint


def test_a_variant_of_a_module_that_is_imported_later_is_noticed() -> None:
    look, looks = looking()
    assert compile_workflow(looks).steps["look"].variants == ()
    look.variant(flag="new-look")(look_v2)

    assert [variant.flag for variant in compile_workflow(looks).steps["look"].variants] == ["new-look"]


def test_a_variant_has_its_steps_identity_and_codecs_and_a_cache_key_of_its_own() -> None:
    look, looks = looking()
    look.variant(flag="new-look", cache=Cache("1m", key="{item}:{page}"))(look_v2)
    binding = compile_workflow(looks).steps["look"]
    variant = binding.variants[0].binding

    assert (variant.key, variant.arguments, variant.result) == (binding.key, binding.arguments, binding.result)
    assert binding.cache_key is not None
    assert variant.cache_key is not None
    assert binding.cache_key(("cup", 2), {}) == "cup"
    assert variant.cache_key(("cup", 2), {}) == "cup:2"


def test_one_flag_has_one_default_in_all_workflows_of_a_runtime() -> None:
    look, looks = looking()
    look.variant(flag=Flag("Carrier", default=True), when=False)(look_v2)

    with pytest.raises(ConfigurationError, match=r"flag 'Carrier' .* 'post' and True.*\[policy-conflict\]"):
        Runtime(Settings(store="memory://"), workflows=[shipping, looks])
