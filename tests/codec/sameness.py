"""Strict equality: the same classes all the way down, with nan equal to itself."""

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

from pydantic import BaseModel


def same(left: Any, right: Any, *, ordered: bool = True) -> bool:
    """Whether they are the same; unless `ordered`, the order of mappings and which fields were set do not count."""
    alike = partial(same, ordered=ordered)
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        if math.isnan(left):
            return math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, complex):
        return alike(left.real, right.real) and alike(left.imag, right.imag)
    if isinstance(left, datetime | time):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and type(left.tzinfo) is type(right.tzinfo)
            and str(left.tzinfo) == str(right.tzinfo)
        )
    if isinstance(left, Mapping) and not isinstance(left, Counter):
        if not ordered:
            return len(left) == len(right) and all(any(alike(a, b) for b in right.items()) for a in left.items())
        return alike([*left.items()], [*right.items()])
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(alike(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(alike(a, b) for b in right) for a in left)
    if isinstance(left, BaseException):
        return alike(left.args, right.args) and alike(_state(left), _state(right))
    if isinstance(left, BaseModel):
        return (
            alike(vars(left), vars(right))
            and (left.model_fields_set == right.model_fields_set or not ordered)
            and alike(left.__pydantic_extra__, right.__pydantic_extra__)
        )
    if dataclasses.is_dataclass(left):
        return all(alike(getattr(left, each.name), getattr(right, each.name)) for each in dataclasses.fields(left))
    return bool(left == right)


def _state(error: BaseException) -> dict[str, Any]:
    return dict(sorted(vars(error).items()))
