"""What a family of types needs to make the node of one of its own."""

from collections.abc import Mapping
from typing import Any, Protocol

from awaitly.errors import UnstorableType
from awaitly.persist.codec.node import Node


class Making(Protocol):
    """The making of the node of one annotation, and of everything that it consists of."""

    @property
    def canonical(self) -> bool:
        """Whether trees are for comparing, so that the order of mappings and the like do not count."""
        ...

    def node(self, annotation: Any) -> Node:
        """Return the node of another annotation."""
        ...

    def within(self, step: str, annotation: Any) -> Node:
        """Return the node of a part; `step` says in messages which one."""
        ...

    def begin(self, annotation: Any, cls: type, label: str) -> Node:
        """Return an empty node to fill in: from now on the type may contain itself."""
        ...

    def exceptions(self, cls: type[BaseException]) -> Node:
        """Return the node of an exception class."""
        ...

    def place(self) -> str:
        """Return what messages begin with."""
        ...

    def refuse(self, annotation: Any, why: str | None = None, hint: str | None = None) -> UnstorableType:
        """Return the error that says why values of a type cannot be stored."""
        ...


Arguments = Mapping[Any, Any]
