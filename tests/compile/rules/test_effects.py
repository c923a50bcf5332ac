"""What a body does besides calling steps."""

# ruff: noqa: ASYNC210, ASYNC221, ASYNC230, ASYNC240, ASYNC251 - what a body should not do is what is tested

import logging
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from awaitly.declare.step import step
from awaitly.declare.workflow import workflow

CACHE: dict[str, str] = {}
SEEN: list[str] = []
LIMITS = {"a": 1}
count = 0
log = logging.getLogger(__name__)


class Settings:
    level = 1


settings = Settings()


@step
async def work(item: str) -> str:
    return item


@workflow
async def child(item: str) -> str:
    return item


@workflow
async def files_are_for_steps(path: Path) -> None:
    with open(path) as file:  # io-outside-step
        await work(file.read())
    await work(path.read_text())  # io-outside-step
    path.write_text("")  # io-outside-step
    Path("a").unlink()  # io-outside-step


@workflow
async def so_are_the_network_databases_and_processes(item: str) -> None:
    urllib.request.urlopen(item)  # io-outside-step
    socket.create_connection((item, 80))  # io-outside-step
    subprocess.run(["ls"], check=False)  # io-outside-step
    sqlite3.connect(item)  # io-outside-step
    time.sleep(1)  # io-outside-step
    await work(item)


@workflow
async def printing_logging_and_names_of_files_are_fine(path: Path) -> None:
    print(path)
    log.info("%s", path)
    await work((path / "a").with_suffix(".txt").name)


@workflow
async def the_plain_functions_of_steps_and_workflows_are_not_to_be_called(item: str) -> None:
    await work.fn(item)  # undecorated-call
    await child.fn(item)  # undecorated-call
    await work(item)


@workflow
async def variables_of_the_module_are_not_to_be_written(item: str) -> None:
    global count
    count += 1  # global-write
    CACHE[item] = item  # global-write
    SEEN.append(item)  # global-write
    settings.level = 2  # global-write
    del CACHE[item]  # global-write
    await work(item)


@workflow
async def variables_of_the_module_may_be_read(item: str) -> int:
    local = dict(LIMITS)
    local[item] = 1
    seen = list(SEEN)
    seen.append(item)
    await work(CACHE.get(item, ""))
    return local["a"] + settings.level


WORKFLOWS = [value for value in list(globals().values()) if type(value).__name__ == "Workflow"]


@pytest.mark.parametrize("body", WORKFLOWS, ids=lambda body: body.name)
def test_the_marked_lines_and_no_others_are_reported(body: Any, found: Any, marked: Any) -> None:
    assert found(body) == marked(body)


def test_hints_say_what_to_write_instead(diagnosed: Any) -> None:
    assert 'effect="read"' in diagnosed(files_are_for_steps)[0].hint
    hints = [d.hint for d in diagnosed(the_plain_functions_of_steps_and_workflows_are_not_to_be_called)]
    assert hints == ["call work(...)", "call child(...)"]
