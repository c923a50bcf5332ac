"""Type parameters and aliases as Python 3.12 writes them."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from awaitly.errors import Unserialisable
from awaitly.persist.codec import codec_for
from tests.codec.sameness import same

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is that of Python 3.12")

TEXT = """
from dataclasses import dataclass
from pydantic import BaseModel

type Json = dict[str, Json] | list[Json] | str | int | None
type Pair[A] = tuple[A, A]

@dataclass
class Node[T]:
    value: T
    children: "list[Node[T]]"

class Named[K](Node[K]):
    pass

class Chain[T](BaseModel):
    value: T
    next: "Chain[T] | None" = None
"""


@pytest.fixture(scope="module")
def modern() -> Iterator[Any]:
    module = ModuleType("tests_codec_modern")
    sys.modules[module.__name__] = module
    exec(TEXT, vars(module))
    yield module
    del sys.modules[module.__name__]


def test_aliases_may_contain_themselves_and_take_parameters(modern: Any) -> None:
    for annotation, value in (
        (modern.Json, {"a": [1, None, {"b": "c"}]}),
        (modern.Pair[int], (1, 2)),
        (modern.Pair[modern.Json], ([1], None)),
    ):
        codec = codec_for(annotation, where="f returns")
        data, live = codec.roundtrip(value)
        assert same(live, value)
        assert same(codec.decode(data), value)


def test_generic_classes_may_contain_themselves(modern: Any) -> None:
    node, named, chain = modern.Node, modern.Named, modern.Chain
    for annotation, value in (
        (node[int], node(1, [node(2, [])])),
        (named[str], named("x", [node("y", [])])),
        (chain[int], chain[int](value=1, next=chain[int](value=2))),
    ):
        codec = codec_for(annotation, where="f returns")
        data, live = codec.roundtrip(value)
        assert same(live, value)
        assert same(codec.decode(data), value)


def test_a_parameter_is_what_it_was_given(modern: Any) -> None:
    with pytest.raises(Unserialisable, match=r"returned str 'x' at result\.children\[0\]\.value"):
        codec_for(modern.Node[int], where="f returns").encode(modern.Node(1, [modern.Node("x", [])]))
