"""The classes of a small shop, annotated in quotes as `from __future__ import annotations` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from typing import Generic, NamedTuple, NotRequired, Required, Self, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel

from awaitly.errors import Failure

T = TypeVar("T")


class Color(Enum):
    RED = 1
    BLUE = 2
    SCARLET = 1  # noqa: PIE796 - an alias


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


class Item(BaseModel):
    sku: str
    count: int = 1
    price: float = 0.5
    gift: bool = False
    note: str | None = None


class Order(BaseModel):
    id: str
    items: list[Item]
    placed: datetime
    total: Decimal
    labels: Mapping[str, Sequence[int]] = {}
    follows: Order | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    name: str


class Counted(BaseModel):
    text: str
    _length: int = PrivateAttr(default=0)

    def model_post_init(self, context: object) -> None:
        self._length = len(self.text)


class Strict(BaseModel):
    share: int

    def model_post_init(self, context: object) -> None:
        """Do nothing: a method, but no private state."""


class Names(RootModel[list[str]]):
    pass


class Box(BaseModel, Generic[T]):
    content: T


@dataclass
class Tree(Generic[T]):
    value: T
    children: list[Tree[T]] = field(default_factory=list)

    @cached_property
    def size(self) -> int:
        return 1 + sum(child.size for child in self.children)


@dataclass
class NumberTree(Tree[int]):
    name: str = "numbers"


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    above: Self | None = None


@dataclass
class Sealed:
    number: int
    doubled: int = field(init=False)

    def __post_init__(self) -> None:
        self.doubled = self.number * 2


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Options(TypedDict, total=False):
    name: Required[str]
    size: int
    color: NotRequired[Color]


class Declined(Failure):
    code: str
    item: Item | None = None


class Expired(Declined, retryable=True):
    since: datetime | None = None


class LimitReached(Exception):
    limit: Decimal

    def __init__(self, limit: Decimal, *, unit: str) -> None:
        super().__init__(f"more than {limit} {unit}")
        self.limit = limit
        self.unit = unit


OldJson = dict[str, "OldJson"] | list["OldJson"] | int


@dataclass
class Document:
    body: OldJson


class Nothing(BaseModel):
    pass


@dataclass
class Marker:
    pass


@dataclass(frozen=True, slots=True)
class Slotted:
    pass


class Gone(Failure):
    pass
