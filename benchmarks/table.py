"""Samples of durable steps to Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from contenders import CONTENDERS
from document import grid, spread
from scenarios import COUNTED, LENGTHS, RUNS, STEPS, Figures

_RATES = ("sequence", "together")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process measured."""

    contender: str
    scenario: str
    repetition: int
    figures: Figures
    settings: str


def render(samples: Sequence[Sample], machine: str, versions: str, command: str, missing: Iterable[str]) -> str:
    """The whole section: rates, cost by length, counts, and the notes without which they mislead."""
    keys = list(dict.fromkeys(sample.contender for sample in samples))
    parts = [_rates(samples, keys), _lengths(samples, keys), _counts(samples, keys), _bare(samples)]
    origin = (
        f"Made by `{command}` on {machine}. {versions}. Medians, with the lowest and highest of the repetitions; "
        f"contenders alternate, each measurement in a process and a folder of its own."
    )
    absent = "\n".join(f"Not measured: {CONTENDERS[key].title}." for key in missing)
    notes = [origin, _settings_note(samples, keys), absent]
    return "\n\n".join(part for part in [*parts, *notes] if part)


def _rates(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    rows = [
        (CONTENDERS[key].title, *(spread(_pick(samples, key, name, "steps_per_second")) for name in _RATES))
        for key in keys
    ]
    head = (f"Durable steps per second, runs of {STEPS} steps", "one after another", f"{RUNS} at once")
    return grid(head, rows)


def _lengths(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    rows = [
        (CONTENDERS[key].title, *(spread(_pick(samples, key, "flat", str(steps))) for steps in LENGTHS))
        for key in keys
        if _has(samples, key, "flat")
    ]
    return grid(("µs a step, in one run of", *(f"{steps:,} steps" for steps in LENGTHS)), rows)


def _counts(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    names = ("statements", "reads", "commits", "rows")
    rows = [
        (CONTENDERS[key].title, *(f"{_pick(samples, key, 'counts', name)[0]:,.0f}" for name in names))
        for key in keys
        if _has(samples, key, "counts")
    ]
    return grid((f"For one run of {COUNTED} effectful steps in sequence", *names), rows)


def _bare(samples: Sequence[Sample]) -> str:
    overheads = _pick(samples, "awaitly", "overhead", "overhead_us")
    if not overheads:
        return ""
    bare = median(_pick(samples, "awaitly", "overhead", "bare_us"))
    return (
        f"A step without persistence costs {spread(overheads, 1)} µs more than the bare `await` of the same "
        f"coroutine ({bare:.2f} µs)."
    )


def _settings_note(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    found: dict[str, str] = {}
    for sample in samples:  # the traced run knows most, so it has the last word
        if sample.contender not in found or sample.scenario == "counts":
            found[sample.contender] = sample.settings
    texts = [f"{CONTENDERS[key].title}: {found[key]}" for key in keys]
    return f"Settings seen on their connections (2 is FULL): {'; '.join(texts)}." if texts else ""


def _has(samples: Sequence[Sample], key: str, scenario: str) -> bool:
    return any(sample.contender == key and sample.scenario == scenario for sample in samples)


def _pick(samples: Sequence[Sample], key: str, scenario: str, figure: str) -> list[float]:
    return [
        sample.figures[figure]
        for sample in samples
        if sample.contender == key and sample.scenario == scenario and figure in sample.figures
    ]
