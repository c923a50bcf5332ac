"""How fast are durable steps? awaitly, DBOS and raw `sqlite3`, in one run on one machine.

Usage: python benchmarks/steps.py [--quick] [--only awaitly,raw] [--write README.md] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import document
import machine
import table
from contenders import CONTENDERS
from scenarios import Size

SCENARIOS = ("sequence", "together", "overhead", "flat", "counts")
HERE = Path(__file__).resolve().parent
LIMIT = 600  # seconds for one measurement
# What would change a contender's behaviour, or let it call somebody, stays out.
FOREIGN = ("DBOS", "AWAITLY_", "OTEL_", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")


class NotMeasured(Exception):
    """A contender's process ended without figures; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    keys = list(CONTENDERS) if options.only is None else options.only
    size = Size(seconds=0.3, warm_up=0.1, pairs=5, bare_steps=2_000, longest=1_000) if options.quick else Size()
    repetitions = options.repetitions or (1 if options.quick else 5)

    if options.write is not None:
        if options.quick:
            print("quick-figures: --quick measures too little to publish; leave it out to --write", file=sys.stderr)
            return 2
        try:
            document.around(options.write)  # before minutes of measuring, not after
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2

    where = machine.describe(options.folder)
    samples, missing = _measure_all(keys, repetitions, size, options.folder)
    command = "python benchmarks/steps.py" + (f" --only {','.join(keys)}" if options.only else "")
    command += f" --repetitions {repetitions}" if options.repetitions else ""
    section = table.render(samples, where, _versions(keys), command, missing)
    print(section)

    if options.json is not None:
        report = {"machine": where, "versions": _versions(keys), "samples": [asdict(sample) for sample in samples]}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if missing:
        print(f"incomplete: nothing was measured for {', '.join(missing)}; no document was written", file=sys.stderr)
        return 1
    if options.write is not None:
        document.write(options.write, section)
    return 0


def _measure_all(
    keys: Sequence[str], repetitions: int, size: Size, folder: Path
) -> tuple[list[table.Sample], dict[str, str]]:
    """Contenders take turns (A B C A B C); one that fails is left out from then on."""
    samples: list[table.Sample] = []
    missing: dict[str, str] = {}
    plan = [
        (repetition, scenario, key)
        for repetition in range(repetitions)
        for scenario in SCENARIOS
        for key in keys
        if scenario in CONTENDERS[key].scenarios and (scenario != "counts" or repetition == 0)
    ]

    for number, (repetition, scenario, key) in enumerate(plan, start=1):
        if key in missing:
            continue
        print(f"[{number}/{len(plan)}] {key} {scenario}", file=sys.stderr)
        try:
            samples.append(_measure(key, scenario, repetition, size, folder))
        except NotMeasured as error:
            missing[key] = str(error)
            print(f"{key}: {error}", file=sys.stderr)

    return [sample for sample in samples if sample.contender not in missing], missing


def _measure(key: str, scenario: str, repetition: int, size: Size, folder: Path) -> table.Sample:
    contender = CONTENDERS[key]
    given = json.dumps({**asdict(size), "longest": min(size.longest, contender.longest)})
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    path = os.pathsep.join([str(HERE.parent), kept["PYTHONPATH"]] if "PYTHONPATH" in kept else [str(HERE.parent)])

    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as temporary:
        command = [sys.executable, str(HERE / "worker.py"), key, scenario, given]
        environment = {**kept, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, cwd=temporary, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"measurement-too-long: {scenario} took over {LIMIT} s and was stopped") from None

    if done.returncode == 3:
        raise NotMeasured(done.stderr.strip())
    if done.returncode != 0:
        raise NotMeasured(f"measurement-failed: {scenario} exited with {done.returncode}\n{done.stderr.strip()}")
    report = json.loads(done.stdout.strip().splitlines()[-1])
    return table.Sample(key, scenario, repetition, report["figures"], report["settings"])


def _versions(keys: Sequence[str]) -> str:
    packages = dict.fromkeys(package for key in keys if (package := CONTENDERS[key].package))
    return ", ".join(f"{package} {_version(package)}" for package in packages) or "sqlite3 of the standard library"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(from this checkout)" if (HERE.parent / package).is_dir() else "(not installed)"


def _keys(text: str) -> list[str]:
    chosen = text.split(",")
    unknown = [key for key in chosen if key not in CONTENDERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    return chosen


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder; name one on the disk to be measured")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short repetition: does it work?")
    parser.add_argument("--only", type=_keys, metavar="NAMES", help=f"of {','.join(CONTENDERS)}")
    parser.add_argument("--repetitions", type=int, metavar="N", help="5 unless told otherwise")
    parser.add_argument("--folder", type=_folder, default=Path(tempfile.gettempdir()), help="where databases are made")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table between its benchmark markers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, for your own analysis")
    return parser


if __name__ == "__main__":
    sys.exit(main())
