"""Generated workflows: a small syntax tree, the Python source that it stands for, and what it should compute."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from textwrap import indent
from typing import TypeAlias

MODULUS = 1009


@dataclass(frozen=True)
class Call:
    step: str
    tag: int
    fails: bool = False
    attempt: bool = False


@dataclass(frozen=True)
class Keyed:
    key: int


@dataclass(frozen=True)
class If:
    then: Block
    orelse: Block


@dataclass(frozen=True)
class For:
    times: int
    body: Block


@dataclass(frozen=True)
class Parallel:
    style: str  # gather, asyncio, group, settle, race
    branches: tuple[Block, ...]


@dataclass(frozen=True)
class Each:
    body: Block
    items: int
    concurrency: int


@dataclass(frozen=True)
class Child:
    body: Block


@dataclass(frozen=True)
class Try:
    body: Block
    handler: Block
    final: Block


@dataclass(frozen=True)
class Spawn:
    """A task beside the body; awaited afterwards or left behind."""

    task: Block
    meanwhile: Block
    awaited: bool


@dataclass(frozen=True)
class Now:
    pass


@dataclass(frozen=True)
class Chance:
    pass


@dataclass(frozen=True)
class Sleep:
    milliseconds: int


@dataclass(frozen=True)
class Limit:
    milliseconds: int
    body: Block


Node: TypeAlias = "Call | Keyed | If | For | Parallel | Each | Child | Try | Spawn | Now | Chance | Sleep | Limit"
Block: TypeAlias = "tuple[Node, ...]"


class Boomed(Exception):
    """The reference's failure: its tag, and what ``x`` was where it was raised."""

    def __init__(self, tag: int, x: int) -> None:
        super().__init__(tag, x)
        self.tag = tag
        self.x = x


# What it computes.


def expected(block: Block, x: int) -> int:
    """Return what a program makes of ``x``, whatever its interleaving; raise ``Boomed`` if it fails."""
    for node in block:
        match node:
            case Call(tag=tag, fails=fails, attempt=attempt):
                if fails and not attempt:
                    raise Boomed(tag, x)
                x = (x + tag) % MODULUS if fails else value(tag, x)
            case Keyed(key=key):
                x = (x + value(key, 0)) % MODULUS
            case If(then=then, orelse=orelse):
                x = expected(then if x % 2 else orelse, x)
            case For(times=times, body=body):
                for _ in range(times):
                    x = expected(body, x)
            case Parallel(style="settle", branches=branches):
                x = sum(_settled(branch, x + at) for at, branch in enumerate(branches)) % MODULUS
            case Parallel(branches=branches):
                x = sum(expected(branch, x + at) for at, branch in enumerate(branches)) % MODULUS
            case Each(body=body, items=items):
                x = sum(expected(body, x + at) for at in range(items)) % MODULUS
            case Child(body=body):
                try:
                    x = expected(body, x)
                except Boomed as boom:
                    raise Boomed(boom.tag, x) from boom  # the child has an x of its own
            case Try(body=body, handler=handler, final=final):
                try:
                    x = _handled(body, handler, x)
                except Boomed as boom:
                    expected(final, boom.x)  # if it fails, that takes the place of the failure
                    raise
                x = expected(final, x)
            case Spawn(task=task, meanwhile=meanwhile, awaited=awaited):
                beside = expected(task, x) if awaited else 0
                x = (expected(meanwhile, x) + beside) % MODULUS
            case Limit(body=body):
                x = expected(body, x)
    return x


def _handled(body: Block, handler: Block, x: int) -> int:
    try:
        return expected(body, x)
    except Boomed as boom:
        return expected(handler, boom.tag)


def _settled(block: Block, x: int) -> int:
    try:
        return expected(block, x)
    except Boomed:
        return 7


def value(tag: int, x: int) -> int:
    """Return what every step computes."""
    return (x * 31 + tag) % MODULUS


def deterministic(block: Block, *, parallel: bool = False) -> bool:
    """Whether the result is the same in every interleaving."""
    for node in block:
        match node:
            case Parallel(style="race") | Limit():
                return False
            case Call(fails=True, attempt=False) if parallel:
                return False
            case Spawn(task=task, meanwhile=meanwhile):
                if not deterministic(task, parallel=True) or not deterministic(meanwhile, parallel=parallel):
                    return False
            case _:
                beside = parallel or isinstance(node, (Parallel, Each))
                if not all(deterministic(inner, parallel=beside) for inner in inside(node)):
                    return False
    return True


def inside(node: Node) -> tuple[Block, ...]:
    """Return the blocks of a node."""
    match node:
        case If(then=then, orelse=orelse):
            return then, orelse
        case For(body=body) | Each(body=body) | Child(body=body) | Limit(body=body):
            return (body,)
        case Parallel(branches=branches):
            return branches
        case Try(body=body, handler=handler, final=final):
            return body, handler, final
        case Spawn(task=task, meanwhile=meanwhile):
            return task, meanwhile
        case _:
            return ()


# What is written.

HEADER = '''"""A generated workflow."""

import asyncio

from awaitly import Ok, each, gather, now, race, random, settle, sleep, timeout, workflow
from tests.properties.steps import (
    Boom, again, again_read, braked, cached, keyed, none, note, once, patient, read, refused, replaced, seated, write,
)

'''


class Writer:
    """Turns a program into the source of a module with a workflow ``main(x)``."""

    def __init__(self) -> None:
        self._functions: list[str] = []

    def module(self, program: Block) -> str:
        """Return the module's source."""
        self._function("main", program, "@workflow\n")
        return HEADER + "\n\n".join(self._functions)

    def _function(self, name: str, block: Block, decorator: str = "") -> None:
        body = self._block(block) + "return x\n"
        self._functions.append(f"{decorator}async def {name}(x: int) -> int:\n{indent(body, '    ')}")

    def _helper(self, block: Block, *, child: bool = False) -> str:
        name = f"{'child' if child else 'helper'}{len(self._functions)}"
        self._functions.append("")  # keeps the number
        at = len(self._functions) - 1
        self._function(name, block, "@workflow\n" if child else "")
        self._functions[at] = self._functions.pop()
        return name

    def _block(self, block: Block) -> str:
        return "".join(self._node(node) for node in block) or "pass\n"

    def _indented(self, block: Block) -> str:
        return indent(self._block(block), "    ")

    def _node(self, node: Node) -> str:
        match node:
            case Call(step=step, tag=tag, fails=fails, attempt=True):
                return (
                    f"r = await {step}.attempt({tag}, x, {fails})\n"
                    f"x = r.value if isinstance(r, Ok) else (x + {tag}) % {MODULUS}\nnote('attempt', {tag}, x)\n"
                )
            case Call(step=step, tag=tag, fails=fails):
                return f"x = await {step}({tag}, x, {fails})\nnote('call', {tag}, x)\n"
            case Keyed(key=key):
                return f"x = (x + await keyed({key})) % {MODULUS}\nnote('keyed', {key}, x)\n"
            case If(then=then, orelse=orelse):
                return f"if x % 2:\n{self._indented(then)}else:\n{self._indented(orelse)}"
            case For(times=times, body=body):
                return f"for _ in range({times}):\n{self._indented(body)}"
            case Parallel(style=style, branches=branches):
                return self._parallel(style, [self._helper(branch) for branch in branches])
            case Each(body=body, items=items, concurrency=concurrency):
                name = self._helper(body)
                return (
                    f"x = sum(await each({name}, [x + i for i in range({items})], concurrency={concurrency}))"
                    f" % {MODULUS}\nnote('each', x)\n"
                )
            case Child(body=body):
                return f"x = await {self._helper(body, child=True)}(x)\nnote('child', x)\n"
            case Try(body=body, handler=handler, final=final):
                return (
                    f"try:\n{self._indented(body)}except Boom as boom:\n    x = boom.tag\n    note('caught', x)\n"
                    f"{self._indented(handler)}finally:\n    note('finally')\n{self._indented(final)}"
                )
            case Spawn(task=task, meanwhile=meanwhile, awaited=awaited):
                name = self._helper(task)
                after = f"x = (x + await task{name}) % {MODULUS}\nnote('joined', x)\n" if awaited else ""
                return f"task{name} = asyncio.create_task({name}(x))\n{self._block(meanwhile)}{after}"
            case Now():
                return "note('now', now().isoformat())\n"
            case Chance():
                return "note('random', random())\n"
            case Sleep(milliseconds=milliseconds):
                return f"await sleep('{milliseconds}ms')\nnote('slept')\n"
            case Limit(milliseconds=milliseconds, body=body):
                return (
                    f"try:\n    async with timeout('{milliseconds}ms'):\n{indent(self._indented(body), '    ')}"
                    "except TimeoutError:\n    x = 3\n    note('timeout')\n"
                )

    def _parallel(self, style: str, names: list[str]) -> str:
        calls = ", ".join(f"{name}(x + {at})" for at, name in enumerate(names))
        if style == "race":
            return f"x = await race({calls})\nnote('race', x)\n"
        if style == "settle":
            return (
                f"rs = await settle({calls})\n"
                f"x = sum(r.value if isinstance(r, Ok) else 7 for r in rs) % {MODULUS}\nnote('settle', x)\n"
            )
        if style == "group":
            tasks = "".join(f"    t{at} = group.create_task({name}(x + {at}))\n" for at, name in enumerate(names))
            total = " + ".join(f"t{at}.result()" for at in range(len(names)))
            return f"async with asyncio.TaskGroup() as group:\n{tasks}x = ({total}) % {MODULUS}\nnote('group', x)\n"
        function = "asyncio.gather" if style == "asyncio" else "gather"
        return f"x = sum(await {function}({calls})) % {MODULUS}\nnote('{style}', x)\n"


# What is generated.

EFFECTS = ("write", "write", "read", "none", "once")
POLICIES = ("again", "again_read", "patient", "refused", "replaced", "cached", "seated", "braked")


class Generator:
    """Draws programs from a source of randomness."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._tags = 0

    def program(self, size: int = 8) -> Block:
        """Return a program of about ``size`` calls."""
        self._left = size
        block: list[Node] = []
        while self._left > 0:
            block.extend(self._block(depth=0, fails=True))
        return tuple(block)

    def _block(self, depth: int, fails: bool) -> Block:
        return tuple(self._node(depth, fails) for _ in range(self._random.choice((1, 1, 2, 3))))

    def _node(self, depth: int, fails: bool) -> Node:
        kind = self._random.random()
        if depth >= 3 or self._left <= 0 or kind < 0.45:
            return self._leaf(fails)
        return self._compound(depth + 1, fails)

    def _leaf(self, fails: bool) -> Node:
        random = self._random
        self._left -= 1
        kind = random.random()
        if kind < 0.66:
            self._tags += 1
            failing = random.random() < 0.15
            attempt = random.random() < 0.15 or (failing and not fails)
            step = random.choice(POLICIES if random.random() < 0.35 else EFFECTS)
            return Call(step, self._tags, failing, attempt)
        if kind < 0.78:
            return Keyed(random.randrange(3))
        if kind < 0.88:
            return Sleep(random.choice((0, 1, 5, 30)))
        return Now() if kind < 0.95 else Chance()

    def _compound(self, depth: int, fails: bool) -> Node:
        random = self._random
        kind = random.choice(
            ("parallel", "parallel", "parallel", "each", "if", "for", "child", "try", "try", "spawn", "limit")
        )
        match kind:
            case "parallel":
                style = random.choice(("gather", "gather", "asyncio", "group", "settle", "race", "race"))
                inner = fails and style != "group"
                return Parallel(style, tuple(self._block(depth, inner) for _ in range(random.choice((1, 2, 2, 3, 4)))))
            case "each":
                return Each(self._block(depth, fails), random.choice((1, 2, 3, 5)), random.choice((1, 2, 3)))
            case "if":
                return If(self._block(depth, fails), self._block(depth, fails))
            case "for":
                return For(random.choice((1, 2, 3)), self._block(depth, fails))
            case "child":
                return Child(self._block(depth, fails))
            case "try":
                final = self._block(depth, fails) if random.random() < 0.5 else ()
                return Try(self._block(depth, True), self._block(depth, fails), final)
            case "spawn":
                return Spawn(self._block(depth, False), self._block(depth, fails), random.random() < 0.6)
            case _:
                return Limit(random.choice((0, 1, 5, 30)), self._block(depth, fails))
