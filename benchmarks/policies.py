"""What does a policy cost a call that succeeds? awaitly beside the libraries of the field, in one run on one machine.

Usage: python benchmarks/policies.py [--quick] [--only awaitly,tenacity] [--write docs/policies.md] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median

import document
import machine
from calling import Size
from guards import LIBRARIES, OURS, ROWS

_SETTINGS = (
    "3 attempts, a circuit that 5 failures open for 30 s, a limit that is never reached, 100 places, and 10 s for an "
    "attempt, so that every call passes"
)
HERE = Path(__file__).resolve().parent
LIMIT = 600  # seconds for one process
FOREIGN = ("AWAITLY_", "OTEL_", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")  # would change what is measured

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By row and library: what a call costs in all, without policies, and what they add to it."""


class NotMeasured(Exception):
    """A process ended without figures; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    titles = list(LIBRARIES) if options.only is None else options.only
    size = Size(rounds=2, calls=100) if options.quick else Size()
    repetitions = options.repetitions or (1 if options.quick else 5)

    try:
        if options.write is not None:
            _publishable(options, titles)  # before minutes of measuring, not after
        samples = [_measured(titles, size, number, repetitions) for number in range(1, repetitions + 1)]
    except (NotMeasured, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2

    command = "python benchmarks/policies.py" + (f" --only {','.join(titles)}" if options.only else "")
    command += f" --repetitions {repetitions}" if options.repetitions else ""
    section = render(samples, titles, machine.computer(), command)
    print(section)
    if options.json is not None:
        report = {"machine": machine.computer(), "versions": _versions(titles), "samples": samples}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.write is not None:
        document.write(options.write, section)
    return 0


def render(samples: Sequence[Figures], titles: Sequence[str], where: str, command: str) -> str:
    """The whole section: the policies side by side, the bundle wherever it can be, and where the figures come from."""
    origin = (
        f"Made by `{command}` on {where}. {_versions(titles)}. Medians, with the lowest and highest of the processes; "
        "in a process everything takes turns, there and back again, each time right after what it is compared with. "
        f"All are set alike: {_SETTINGS}. Stacked are tenacity, aiolimiter, aiobreaker and `asyncio.timeout`."
    )
    return "\n\n".join(part for part in (_rows(samples, titles), _places(samples), _bare(samples), origin) if part)


def _rows(samples: Sequence[Figures], titles: Sequence[str]) -> str:
    others = [title for title in titles if title != OURS]
    lines = [
        (row, _added(samples, row, OURS), _listed(samples, row, others))
        for row in ROWS
        if any(row in sample for sample in samples)
    ]
    return document.grid(("µs that a call costs more, by policy", OURS, "others"), lines)


def _listed(samples: Sequence[Figures], row: str, titles: Sequence[str]) -> str:
    found = [f"{title} {_added(samples, row, title)}" for title in titles if title in samples[0].get(row, {})]
    return "<br>".join(found) or "-"


def _places(samples: Sequence[Figures]) -> str:
    lines = [
        (place, *(document.spread(_picked(samples, place, OURS, name), 1) for name in ("without", "all", "added")))
        for place in samples[0]
        if place not in ROWS
    ]
    return document.grid(("µs a call, with the last of these and without", "without", "with", "added"), lines)


def _bare(samples: Sequence[Figures]) -> str:
    bare = [figures["without"] for sample in samples for row in ROWS for figures in sample.get(row, {}).values()]
    return f"The bare `await` of the same function takes {median(bare):.2f} µs." if bare else ""


def _added(samples: Sequence[Figures], row: str, title: str) -> str:
    return document.spread(_picked(samples, row, title, "added"), 1)


def _picked(samples: Sequence[Figures], row: str, title: str, name: str) -> list[float]:
    return [sample[row][title][name] for sample in samples if title in sample.get(row, {})]


def _measured(titles: Sequence[str], size: Size, number: int, repetitions: int) -> Figures:
    print(f"[{number}/{repetitions}]", file=sys.stderr)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    path = os.pathsep.join([str(HERE.parent), kept["PYTHONPATH"]] if "PYTHONPATH" in kept else [str(HERE.parent)])
    command = [sys.executable, str(HERE / "calling.py"), json.dumps(asdict(size)), *titles]
    try:
        done = subprocess.run(
            command, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"measurement-too-long: it took over {LIMIT} s and was stopped") from None
    if done.returncode != 0:
        raise NotMeasured(done.stderr.strip())
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _publishable(options: argparse.Namespace, titles: Sequence[str]) -> None:
    if options.quick:
        raise ValueError("quick-figures: --quick measures too little to publish; leave it out to --write")
    if len(titles) < len(LIBRARIES):
        raise ValueError("incomplete: --only measures some alone; leave it out to --write")
    document.around(options.write)


def _versions(titles: Sequence[str]) -> str:
    packages = dict.fromkeys(package for title in titles for package in LIBRARIES[title][1])
    return ", ".join(
        f"{package} (from this checkout)" if package == OURS else f"{package} {metadata.version(package)}"
        for package in packages
    )


def _titles(text: str) -> list[str]:
    chosen = text.split(",")
    unknown = [title for title in chosen if title not in LIBRARIES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown library {', '.join(unknown)}; there are {', '.join(LIBRARIES)}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short process: does it work?")
    parser.add_argument("--only", type=_titles, metavar="NAMES", help=f"of {','.join(LIBRARIES)}")
    parser.add_argument("--repetitions", type=int, metavar="N", help="processes; 5 unless told otherwise")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the tables between its benchmark markers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure, for your own analysis")
    return parser


if __name__ == "__main__":
    sys.exit(main())
