"""The page of observability is complete and up to date."""

import asyncio
import re

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from awaitly import Failure, Retry, Runtime, step, workflow
from awaitly.model.attributes import MEANINGS
from awaitly.observe.logs import NAMES
from awaitly.observe.tracing import EVENTS, Tracing
from tests.docs.observability_page import PAGE, kinds, logged, written


class Declined(Failure):
    code: str


@step(retry=Retry(2, initial="1ms"))
async def failing() -> None:
    raise ConnectionError("nobody there")


@step(errors=Declined)
async def declining() -> str:
    raise Declined(code="stolen_card")


@workflow
async def shipping() -> None:
    await failing()


@workflow(errors=Declined)
async def ordering(known: bool) -> str:
    if not known:
        await shipping()
    return await declining()


def test_the_reference_is_what_the_tables_say() -> None:
    """`python -m tests.docs.observability_page` writes it."""
    page = PAGE.read_text(encoding="utf-8")

    assert page == written(page)


def test_every_meaning_is_a_sentence() -> None:
    assert [text for text in (*MEANINGS.values(), *NAMES.values()) if not text.endswith(".")] == []


def test_every_line_of_a_step_names_it_and_every_fact_of_a_step_that_went_wrong_has_a_line() -> None:
    lines = logged()

    assert len({(event, kind) for _, event, _, kind in lines}) == len(lines)
    assert {kind.__name__ for kind in kinds()} > {kind for *_, kind in lines} > {"StepRetrying", "StepCancelled"}


def test_spans_have_the_names_and_attributes_that_the_page_tells_of() -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    async def story() -> None:
        async with Runtime(store="memory://", watchers=[Tracing(provider, inputs=True)]) as rt:
            await rt.run(ordering, False)
            await rt.run(ordering, True)

    asyncio.run(story())

    made = spans.get_finished_spans()
    events = [event for span in made for event in span.events]
    attributes = {name for each in (*made, *events) for name in each.attributes or {}}
    shown = set(re.findall(r"(?:── |^)(\w+) \w+", PAGE.read_text(encoding="utf-8").split("## Traces")[1], re.MULTILINE))
    assert attributes - set(MEANINGS) == set()
    assert {event.name for event in events} - {name for name, _ in EVENTS.values()} == {"exception"}
    assert {span.name.partition(" ")[0] for span in made} == {"workflow", "step", "attempt"} < shown
