"""Plays a page as its reader would: files are written, Python is executed, commands go to a real shell."""

import ast
import asyncio
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType

from awaitly import Runtime
from tests.docs.blocks import ROOT, SHELLS, Block, Command, blocks_of, commands_of

LONGEST_COMMAND = 60.0
_MARK = "@@ ended with"

# What differs from run to run, and how often the spaces around it.
_VARYING = [
    (re.compile(r"\d+(\.\d+)?(us|µs|ms|s)\b"), "<seconds>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"(?<=:)[0-9a-f]{16}\b"), "<id>"),
    (re.compile(r"[ \t]+"), " "),
]


_SLEEP = """
command -p sleep "$1"
for tenth in $(seq 300); do
    test -s awaitly.db-wal && command -p sleep 0.5 && exit
    command -p sleep 0.1
done
"""


class Stage:
    """A folder with the package importable, where `python`, `awaitly`, `pip` and `uv` are what they should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve() / "reader"
        self.folder.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.folder / "examples").symlink_to(ROOT / "examples")
        self._program("python", f'exec "{sys.executable}" "$@"')
        self._program("awaitly", f'exec "{sys.executable}" -m awaitly.cli "$@"')
        self._program("mypy", f'exec "{sys.executable}" -m mypy --cache-dir=/dev/null "$@"')
        # What is killed after some seconds shall have begun by then, on a busy machine too.
        self._program("sleep", _SLEEP)
        # Everything is installed already: `pip install` has nothing to do, `uv run` only runs.
        self._program("pip", 'test "$1" = install')
        self._program("uv", 'test "$1" = run && shift && if [ "$1" = --group ]; then shift 2; fi && exec "$@"')

    def _program(self, name: str, text: str) -> None:
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return file

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWAITLY_", "PAYMENTS_"))}
        path = f"{self.programs}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}

    def shell(self, commands: list[Command]) -> list[str]:
        """Run commands one after another in one shell; return what each printed."""
        script = "".join(f"{command.text}\n_s=$?; echo '{_MARK}' $_s; (exit $_s)\n" for command in commands)
        answer = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_COMMAND,
            check=False,
        )
        # A shell at a terminal says elsewhere that a job was killed.
        lines = [line for line in answer.stdout.splitlines() if not re.match(r"bash: line \d+: +\d+ Killed", line)]
        printed = "\n".join(lines).replace(f"{self.folder}{os.sep}", "")
        return re.split(rf"^{_MARK} \d+$\n?", printed, flags=re.MULTILINE)


def play(page: Path, folder: Path, module: ModuleType) -> None:
    """Play the blocks of a page in order.

    Raises:
        AssertionError: If a command or a block prints something else than the page says.
    """
    stage = Stage(folder)
    before = os.getcwd()
    os.chdir(stage.folder)
    try:
        asyncio.run(_played(page, stage, module))
    finally:
        os.chdir(before)


async def _played(page: Path, stage: Stage, module: ModuleType) -> None:
    async with Runtime(store="memory://"):
        for number, block in enumerate(blocks_of(page)):
            if block.title is not None:
                stage.write(block.title, block.text)
            elif block.not_run is not None:
                continue
            elif block.language == "python":
                await _execute(block, stage.write(f"block_{number}.py", block.text), module)
            elif block.language in SHELLS:
                commands = [command for command in commands_of(block) if _is_installed(command)]
                for command, printed in zip(commands, stage.shell(commands), strict=False):
                    same(f"{block}: {command.text}", command.output, printed.splitlines())


def _is_installed(command: Command) -> bool:
    """Whether a command can run where only what the tests need is installed."""
    return not command.text.startswith("mypy ") or find_spec("mypy") is not None


async def _execute(block: Block, file: Path, module: ModuleType) -> None:
    """Execute a block in the namespace of its page; `await` may stand outside of functions."""
    code = compile(block.text, str(file), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            await _run(code, module)
    except Exception as error:
        error.add_note(f"in {block}, whose first line is {block.text.splitlines()[0]!r}")
        raise
    expected = [line.partition("#>")[2].strip() for line in block.text.splitlines() if line.strip().startswith("#>")]
    same(str(block), expected, printed.getvalue().splitlines())


async def _run(code: CodeType, module: ModuleType) -> None:
    waiting = eval(code, module.__dict__)
    if waiting is not None:
        await waiting


def same(what: str, expected: list[str], found: list[str]) -> None:
    """Compare what was printed with what a page says; `...` stands for anything, alone in a line for any lines.

    Raises:
        AssertionError: With both, if they differ.
    """
    wanted = [_steady(line) for line in expected if line.strip()]
    given = [_steady(line) for line in found if line.strip()]
    pattern = "".join(
        r"(.*\n)*" if line == "..." else f"{'.*'.join(map(re.escape, line.split('...')))}\n" for line in wanted
    )
    if not re.fullmatch(pattern, "".join(f"{line}\n" for line in given)):
        raise AssertionError("\n".join([f"{what} prints", *found, "", "and the page says", *expected]))


def _steady(line: str) -> str:
    for varying, name in _VARYING:
        line = varying.sub(name, line)
    return line.strip()
