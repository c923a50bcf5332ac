"""How long something may take at most: what is known of it, in parts that can be shown, and what has no limit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from awaitly.model.counts import counted
from awaitly.model.durations import humanised
from awaitly.model.graph import BudgetSpec

SHOWN = 5  # parts of a sum; the rest is one more


@dataclass(frozen=True, slots=True)
class Part:
    """One summand: how long a call, a wait or a child run takes at most.

    Attributes:
        name: What takes the time.
        seconds: How much.
        sum: How that comes about, such as ``3 x 10s + 100ms + 200ms``; "" if there is nothing to add up.
        reason: Why it is no longer than that, such as ``its deadline``.
        rounds: Whether it is what one round of a loop takes, as nobody knows how many there will be.
    """

    name: str
    seconds: float
    sum: str = ""
    reason: str = ""
    rounds: bool = False

    def __str__(self) -> str:
        total = humanised(self.seconds)
        added = f"{self.sum} = " if self.sum and self.sum != total else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.name}: {added}{total}{reason}{' a round' if self.rounds else ''}"


@dataclass(frozen=True, slots=True)
class Budget:
    """The longest way through something: its parts, and why the time of some of it has no limit."""

    parts: tuple[Part, ...] = ()
    unlimited: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """What is known to be taken at most; what has no limit comes on top."""
        return sum(part.seconds for part in self.parts)

    def then(self, other: "Budget") -> "Budget":
        """Return this and, after it, the other."""
        return Budget(self.parts + other.parts, _united(self.unlimited, other.unlimited))

    def each_round(self) -> "Budget":
        """Return it as what one round of a loop takes."""
        return Budget(tuple(replace(part, rounds=True) for part in self.parts), self.unlimited)

    def terms(self) -> tuple[str, ...]:
        """Return the summands as text: what is the same is counted, and the smallest of many are one."""
        alike: dict[Part, int] = {}
        for part in self.parts:
            if part.seconds:
                alike[part] = alike.get(part, 0) + 1
        sizes = {part: part.seconds * times for part, times in alike.items()}
        kept = sorted(sizes, key=lambda part: -sizes[part])[:SHOWN]
        terms = [_term(part, times) for part, times in alike.items() if part in kept]
        rest = [size for part, size in sizes.items() if part not in kept]
        return (*terms, f"{counted(len(rest), 'other')}: {humanised(sum(rest))}") if rest else tuple(terms)

    def spec(self) -> BudgetSpec:
        """Return it as the graph holds it."""
        return BudgetSpec(seconds=self.seconds, terms=self.terms(), unlimited=self.unlimited)


NOTHING = Budget()


def longest(budgets: Iterable[Budget | None]) -> Budget | None:
    """Return the longest of some ways, of which any may be taken; None if there is none."""
    found = [budget for budget in budgets if budget is not None]
    if not found:
        return None
    most = max(found, key=lambda budget: budget.seconds)
    return Budget(most.parts, _united(*(budget.unlimited for budget in found)))


def shortest(budgets: Iterable[Budget]) -> Budget:
    """Return the one that is over first; one without a limit only if all are."""
    found = list(budgets)
    limited = [budget for budget in found if not budget.unlimited]
    return min(limited or found, key=lambda budget: budget.seconds, default=NOTHING)


def _term(part: Part, times: int) -> str:
    if times == 1:
        return str(part)
    return f"{times} times {part}, so {humanised(part.seconds * times)}"


def _united(*reasons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for several in reasons for reason in several))
