"""Samples to Markdown, and the Markdown into a document between its two markers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contenders import CONTENDERS
from scenarios import COUNTED, LENGTHS, RUNS, STEPS, Figures

_RATES = ("sequence", "together")
START, END = "<!-- benchmark:start -->", "<!-- benchmark:end -->"


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


def around(document: Path) -> tuple[str, str]:
    """The text of the document before the section and after it.

    Raises:
        ValueError: the document has not exactly one of each marker, in order.
    """
    text = document.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"benchmark-markers: {document} needs one {START} and, after it, one {END}; add them")
    return text.partition(START)[0], text.partition(END)[2]


def write(document: Path, section: str) -> None:
    """Replace what is between the markers.

    Raises:
        ValueError: see `around`.
    """
    before, after = around(document)
    document.write_text(f"{before}{START}\n{section}\n{END}{after}", encoding="utf-8")


def _rates(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    rows = [
        (CONTENDERS[key].title, *(_spread(_pick(samples, key, name, "steps_per_second")) for name in _RATES))
        for key in keys
    ]
    head = (f"Durable steps per second, runs of {STEPS} steps", "one after another", f"{RUNS} at once")
    return _table(head, rows)


def _lengths(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    rows = [
        (CONTENDERS[key].title, *(_spread(_pick(samples, key, "flat", str(steps))) for steps in LENGTHS))
        for key in keys
        if _has(samples, key, "flat")
    ]
    return _table(("µs a step, in one run of", *(f"{steps:,} steps" for steps in LENGTHS)), rows)


def _counts(samples: Sequence[Sample], keys: Sequence[str]) -> str:
    names = ("statements", "reads", "commits", "rows")
    rows = [
        (CONTENDERS[key].title, *(f"{_pick(samples, key, 'counts', name)[0]:,.0f}" for name in names))
        for key in keys
        if _has(samples, key, "counts")
    ]
    return _table((f"For one run of {COUNTED} effectful steps in sequence", *names), rows)


def _bare(samples: Sequence[Sample]) -> str:
    overheads = _pick(samples, "awaitly", "overhead", "overhead_us")
    if not overheads:
        return ""
    bare = median(_pick(samples, "awaitly", "overhead", "bare_us"))
    return (
        f"A step without persistence costs {_spread(overheads, 1)} µs more than the bare `await` of the same "
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


def _spread(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return "-"
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])
