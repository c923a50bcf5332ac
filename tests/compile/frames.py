"""Runs workflows with a host that only looks up which call site each step call comes from."""

import asyncio
from collections.abc import Coroutine
from types import FrameType
from typing import Any

from awaitly.compile.following import read
from awaitly.compile.sites import code_table
from awaitly.declare.host import HOST
from awaitly.model.program import Site, Sites


class Recorder:
    """A host: steps give their first argument, after noting the label of the calling place."""

    def __init__(self, workflow: Any) -> None:
        self.table = dict(entry for function in read(workflow).functions for entry in code_table(function))
        self.labels: list[str | None] = []

    def step(self, step: Any, args: Any, kwargs: Any, frame: FrameType, *, attempt: bool) -> Coroutine[Any, Any, Any]:
        self.labels.append(self.label(frame))
        return _value(args[0] if args else None)

    def workflow(self, workflow: Any, options: Any, args: Any, kwargs: Any, frame: FrameType, *, wanted: str) -> Any:
        return self.step(workflow, args, kwargs, frame, attempt=False)

    def each(self, function: Any, items: Any, concurrency: int, frame: FrameType) -> Any:
        self.labels.append(self.label(frame))
        return asyncio.gather(*[function(item) for item in items])

    def gather(self, awaitables: Any, frame: FrameType) -> Any:
        self.labels.append(self.label(frame))
        return asyncio.gather(*awaitables)

    def label(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            held = self.table.get(id(frame.f_code))
            if held is not None:
                site = lookup(held[1], frame)
                return site.label if site else None
            frame = frame.f_back
        return None


async def _value(value: Any) -> Any:
    return value


def lookup(sites: Sites, frame: FrameType) -> Site | None:
    line, end_line, column, end_column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    assert line is not None
    assert end_line is not None
    assert column is not None
    assert end_column is not None
    return sites.by_span.get((line, column, end_line, end_column)) or sites.by_end.get((end_line, end_column))


def labels(workflow: Any, *args: Any) -> list[str | None]:
    """Run the body of a workflow and return the label of every call that reached the host, in order."""
    recorder = Recorder(workflow)

    async def main() -> None:
        HOST.set(recorder)  # type: ignore[arg-type]  # what the bodies ask of a host
        await workflow.fn(*args)

    asyncio.run(main())
    return recorder.labels
