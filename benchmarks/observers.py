"""What do observers cost a step, and what do sinks and exporters in trouble do to it? In one run on one machine.

Usage: python benchmarks/observers.py [--quick] [--write docs/observability.md] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import document
import machine
from watched import PAUSE, RATE, SHORT, STEPS, Size

STORES = tuple(STEPS)
HERE = Path(__file__).resolve().parent
LIMIT = 600  # seconds for one process
FOREIGN = ("AWAITLY_", "OTEL_", "SENTRY_", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")  # would change what is measured
BUSY = {
    "p50": ("µs a step, median", 0), "p99": ("99 of 100", 0), "rate": ("steps a second", 0), "lost": ("lost", 0)
}  # fmt: skip
WAITING = {"wait50": ("ms a step, median", 1), "wait99": ("99 of 100", 1), "waiting": ("steps a second", 0)}
ARRIVING = {"arrived50": ("ms a step, median", 1), "arrived99": ("99 of 100", 1), "arrived": ("steps a second", 0)}
PACKAGES = ("opentelemetry-sdk", "structlog")

Sample = Mapping[str, Any]
"""What one process measured: see `watched.py`."""


class NotMeasured(Exception):
    """A process ended without figures; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    size = Size(turns=1, waves=1, together=5, arriving=5, part=50, calls=1_000) if options.quick else Size()
    repetitions = options.repetitions or (1 if options.quick else 5)

    try:
        if options.write is not None:
            if options.quick:
                raise ValueError("quick-figures: --quick measures too little to publish; leave it out to --write")
            document.around(options.write)  # before minutes of measuring, not after
        samples = [_measured(size, options.folder, number, repetitions) for number in range(1, repetitions + 1)]
    except (NotMeasured, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2

    where = machine.describe(options.folder)
    command = "python benchmarks/observers.py"
    command += f" --repetitions {repetitions}" if options.repetitions else ""
    section = render(samples, size, where, command)
    print(section)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": where, "samples": samples}, indent=2) + "\n", encoding="utf-8")
    if options.write is not None:
        document.write(options.write, section)
    return 0


def render(samples: Sequence[Sample], size: Size, where: str, command: str) -> str:
    """The whole section: what observers cost, what trouble does, and where the figures come from."""
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES)
    told = document.spread([sample["told"] for sample in samples], 2)
    lengths = " and ".join(f"{steps // size.part:,} ({store})" for store, steps in STEPS.items())
    asked = f"With nobody, all that is left is the question whether there is somebody: {told} µs a time, twice a step."
    origin = (
        f"Made by `{command}` on {where}. {versions}. Medians, with the lowest and highest of the processes; in a"
        " process everything takes turns, there and back again. First: a run whose steps are all stored one by one,"
        " right after the same with nobody; time is that of the processor, in all threads, so what an exporter or a log"
        " file gets later is in it. Second: such a run by the clock on the wall, then"
        f" {size.together} runs of {SHORT} steps at once, {size.waves} times; the steps do nothing, so the processor is"
        f" what limits them. Third: as many runs, whose steps wait {PAUSE * 1e3:.0f} ms for somebody. Fourth: such runs"
        f" at a rate, {RATE} in a second, {size.arriving} each time, which leaves the processor time. Runs one after"
        f" another have {lengths} steps. A sink may lag 10,000 notices behind, an exporter 2,048 spans; what is lost is"
        " counted over"
        " all of that."
    )
    troubles = (_troubles(samples, columns) for columns in (BUSY, WAITING, ARRIVING))
    return "\n\n".join((_costs(samples), asked, *troubles, origin))


def _costs(samples: Sequence[Sample]) -> str:
    head = ["µs of the processor a step", *(f"{store}: {what}" for store in STORES for what in ("in all", "added"))]
    return document.grid(
        head,
        [
            (name, *(_picked(samples, "costs", store, name, what, 1) for store in STORES for what in ("all", "added")))
            for name in samples[0]["costs"][STORES[0]]
        ],
    )


def _troubles(samples: Sequence[Sample], columns: Mapping[str, tuple[str, int]]) -> str:
    head = ["", *(f"{store}: {what}" for store in STORES for what, _ in columns.values())]
    return document.grid(
        head,
        [
            (
                name,
                *(
                    _picked(samples, "troubles", store, name, what, digits)
                    for store in STORES
                    for what, (_, digits) in columns.items()
                ),
            )
            for name in samples[0]["troubles"][STORES[0]]
        ],
    )


def _picked(samples: Sequence[Sample], part: str, store: str, name: str, what: str, digits: int) -> str:
    return document.spread([sample[part][store][name][what] for sample in samples], digits)


def _measured(size: Size, folder: Path, number: int, repetitions: int) -> Sample:
    print(f"[{number}/{repetitions}]", file=sys.stderr)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    path = os.pathsep.join([str(HERE.parent), kept["PYTHONPATH"]] if "PYTHONPATH" in kept else [str(HERE.parent)])
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as temporary:
        command = [sys.executable, str(HERE / "watched.py"), json.dumps(asdict(size)), temporary]
        try:
            done = subprocess.run(
                command, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"measurement-too-long: it took over {LIMIT} s and was stopped") from None
    if done.returncode != 0:
        raise NotMeasured(done.stderr.strip())
    sample: Sample = json.loads(done.stdout.strip().splitlines()[-1])
    return sample


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder; name one on the disk to be measured")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short process: does it work?")
    parser.add_argument("--repetitions", type=int, metavar="N", help="processes; 5 unless told otherwise")
    parser.add_argument("--folder", type=_folder, default=Path(tempfile.gettempdir()), help="where databases are made")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the tables between its benchmark markers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure, for your own analysis")
    return parser


if __name__ == "__main__":
    sys.exit(main())
