"""Audit the Python environment this runs in: is every installed file what its RECORD says it is?

    python examples/audit.py --out report
    awaitly run examples/audit.py:audit

Kill it at any time and start it again: distributions that were verified are not read a second time, and a run that
has ended gives its stored result. Give another --id to audit anew.
"""

import argparse
import csv
import hashlib
import os
import sysconfig
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from email import message_from_string
from enum import StrEnum
from importlib.metadata import Distribution
from pathlib import Path

from pydantic import BaseModel

from awaitly import Err, Failure, Ok, each, step, workflow


class Problem(StrEnum):
    """What can be wrong with an installed file or distribution."""

    MISSING_FILE = "missing file"
    WRONG_HASH = "wrong hash"
    WRONG_SIZE = "wrong size"
    UNKNOWN_HASH = "unknown hash"
    NO_RECORD = "no RECORD"
    NO_METADATA = "unreadable metadata"


class Finding(BaseModel):
    """One thing that is not as it should be."""

    problem: Problem
    path: str
    detail: str = ""


class Audited(BaseModel):
    """A distribution that could be read, and what was found in it."""

    name: str
    version: str
    files: int
    findings: list[Finding]


class Report(BaseModel):
    """The whole audit."""

    distributions: list[Audited]
    unreadable: dict[str, str]  # folder → reason


class Summary(BaseModel):
    """What a run of the audit returns; the details are in its files."""

    distributions: int
    files: int
    findings: int
    unreadable: int
    json_file: Path
    markdown_file: Path


class Unreadable(Failure):
    """A distribution that cannot be audited at all."""

    folder: str
    reason: str


@step(effect="read")
def find_distributions(site: Path | None) -> list[Path]:
    """List the metadata folders of what is installed in `site`; None: in the running environment."""
    folders = [site] if site else [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    return sorted({info for folder in folders for info in folder.glob("*.dist-info")})


# It only reads: after a crash it may simply run again, so its outcomes need no commit of their own.
@step(effect="read", errors=Unreadable)
def verify(info: Path) -> Audited:
    """Compare every file of a distribution with its RECORD. A plain function: it runs in a worker thread."""
    try:
        return audited(info)
    except (OSError, ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise Unreadable(folder=info.name, reason=f"{type(error).__name__}: {error}") from error


# The default effect, "write": it begins only when everything that leads to it is stored.
@step
def write_report(report: Report, out: Path) -> Summary:
    """Write the report as JSON and as Markdown, each at once or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / "audit.json", report.model_dump_json(indent=2) + "\n")
    replace_file(out / "audit.md", as_markdown(report))
    return Summary(
        distributions=len(report.distributions),
        files=sum(one.files for one in report.distributions),
        findings=sum(len(one.findings) for one in report.distributions),
        unreadable=len(report.unreadable),
        json_file=out / "audit.json",
        markdown_file=out / "audit.md",
    )


@workflow(key="audit:{out}")
async def audit(out: Path = Path("audit-report"), site: Path | None = None) -> Summary:
    """Verify all distributions, eight at a time, and report on them."""
    report = Report(distributions=[], unreadable={})
    folders = await find_distributions(site)

    # attempt gives a Result instead of raising: one bad distribution does not end the audit.
    results = await each(verify.attempt, folders, concurrency=8)

    for folder, result in zip(folders, results, strict=True):
        match result:
            case Ok(value):
                report.distributions.append(value)
            case Err(Unreadable(reason=reason)):
                report.unreadable[folder.name] = reason
            case Err(bug):
                report.unreadable[folder.name] = str(bug)
    return await write_report(report, out)


def audited(info: Path) -> Audited:
    """Read one distribution: its name and version, and its RECORD against the files."""
    distribution = Distribution.at(info)
    findings = []

    # Not distribution.metadata: what it does where a header is missing differs between versions of Python.
    headers = message_from_string(distribution.read_text("METADATA") or "")
    if not (headers["Name"] and headers["Version"]):
        findings.append(Finding(problem=Problem.NO_METADATA, path=f"{info.name}/METADATA"))

    # Not distribution.files: since Python 3.12 it leaves out the very files that are missing.
    record = distribution.read_text("RECORD")
    if record is None:
        findings.append(Finding(problem=Problem.NO_RECORD, path=f"{info.name}/RECORD"))
    rows = [row for row in csv.reader((record or "").splitlines()) if row]
    for row in rows:
        findings.extend(checked(info.parent, *(*row, "", "")[:3]))
    name, _, version = info.name.removesuffix(".dist-info").partition("-")
    return Audited(
        name=headers["Name"] or name, version=headers["Version"] or version, files=len(rows), findings=findings
    )


def checked(site: Path, path: str, recorded: str, size: str) -> Iterator[Finding]:
    """Yield what is wrong with one file. RECORD gives no hash for itself, and none for compiled files."""
    file = site / path
    if not file.is_file():
        if recorded or "__pycache__" not in path:
            yield Finding(problem=Problem.MISSING_FILE, path=path)
        return
    if size and file.stat().st_size != int(size):
        yield Finding(problem=Problem.WRONG_SIZE, path=path, detail=f"recorded {size}, found {file.stat().st_size}")
    if not recorded:
        return

    algorithm, _, expected = recorded.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        yield Finding(problem=Problem.UNKNOWN_HASH, path=path, detail=algorithm)
        return
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, algorithm).digest()
    found = urlsafe_b64encode(digest).rstrip(b"=").decode()
    if found != expected:
        yield Finding(problem=Problem.WRONG_HASH, path=path, detail=f"recorded {expected}, found {found}")


def as_markdown(report: Report) -> str:
    """Return the report for people: what was found first, then everything that was looked at."""
    lines = ["# Audit of installed distributions", ""]
    for folder, reason in report.unreadable.items():
        lines.append(f"- **{folder}** cannot be read: {reason}")
    for one in report.distributions:
        for finding in one.findings:
            detail = f" ({finding.detail})" if finding.detail else ""
            lines.append(f"- **{one.name}**: {finding.problem}: `{finding.path}`{detail}")
    if len(lines) == 2:
        lines.append("Every file is what its RECORD says.")

    lines += ["", "| Distribution | Version | Files | Findings |", "|---|---|---:|---:|"]
    lines += [f"| {one.name} | {one.version} | {one.files} | {len(one.findings)} |" for one in report.distributions]
    return "\n".join(lines) + "\n"


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify every installed file against its RECORD.")
    parser.add_argument("--out", type=Path, default=Path("audit-report"), help="folder for the report")
    parser.add_argument("--site", type=Path, help="folder to audit; default: the running environment")
    parser.add_argument("--id", help="id of the run; default: made from --out")
    arguments = parser.parse_args()

    match audit.options(id=arguments.id).run_sync(arguments.out, arguments.site):
        case Ok(done):
            print(f"{done.files} files of {done.distributions} distributions: {done.findings} findings")
            print(f"{done.unreadable} distributions could not be read; see {done.markdown_file}")
            return 0
        case Err(error):
            print(f"the audit failed: {error}")
            return 1


if __name__ == "__main__":
    raise SystemExit(main())
