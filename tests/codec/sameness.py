"""Strict equality: the same classes all the way down, with nan equal to itself."""

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from pydantic import BaseModel


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) and (
            left == right or (math.isnan(left) and math.isnan(right))
        )
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, datetime | time):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and type(left.tzinfo) is type(right.tzinfo)
            and str(left.tzinfo) == str(right.tzinfo)
        )
    if isinstance(left, Mapping) and not isinstance(left, Counter):
        return len(left) == len(right) and all(
            same(a, b) and same(x, y) for (a, x), (b, y) in zip(left.items(), right.items(), strict=True)
        )
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    if isinstance(left, BaseException):
        return same(left.args, right.args) and same(_state(left), _state(right))
    if isinstance(left, BaseModel):
        return (
            same(vars(left), vars(right))
            and left.model_fields_set == right.model_fields_set
            and same(left.__pydantic_extra__, right.__pydantic_extra__)
        )
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, each.name), getattr(right, each.name)) for each in dataclasses.fields(left))
    return bool(left == right)


def _state(error: BaseException) -> dict[str, Any]:
    return dict(sorted(vars(error).items()))
