"""The audit finds what was damaged, and does nothing twice."""

import hashlib
import json
import sysconfig
from base64 import urlsafe_b64encode
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from awaitly import Ok, Runtime
from awaitly.model.facts import StepFinished
from examples.audit import Problem, Report, Summary, audit
from tests.examples.conftest import Program
from tests.examples.environments import SOUND, damaged_environment, install, sound_environment

Run = Callable[[Any], Any]


async def audited(out: Path, site: Path | None) -> Summary:
    async with Runtime(store="memory://") as runtime:
        result = await runtime.run(audit, out, site)
    assert isinstance(result, Ok)
    return result.value


def report_in(folder: Path) -> Report:
    return Report.model_validate_json((folder / "audit.json").read_text())


def test_it_compiles_without_a_diagnostic() -> None:
    assert list(audit.graph.diagnostics) == []


def test_a_sound_environment_has_no_findings(run: Run, tmp_path: Path) -> None:
    sound_environment(tmp_path / "site")

    summary = run(audited(tmp_path / "out", tmp_path / "site"))

    assert (summary.distributions, summary.files, summary.findings, summary.unreadable) == (6, 30, 0, 0)
    assert "Every file is what its RECORD says." in summary.markdown_file.read_text()


def test_every_damage_is_found_where_it_is(run: Run, tmp_path: Path) -> None:
    damaged_environment(tmp_path / "site")

    run(audited(tmp_path / "out", tmp_path / "site"))

    report = report_in(tmp_path / "out")
    found = {one.name: [(finding.problem, finding.path) for finding in one.findings] for one in report.distributions}
    assert found == {
        **{name: [] for name in SOUND},
        "hash": [(Problem.WRONG_HASH, "hash/__init__.py")],
        "size": [(Problem.WRONG_SIZE, "size/__init__.py"), (Problem.WRONG_HASH, "size/__init__.py")],
        "missing": [(Problem.MISSING_FILE, "missing/gone.py")],
        "unrecorded": [(Problem.NO_RECORD, "unrecorded-1.0.dist-info/RECORD")],
        "nameless": [
            (Problem.NO_METADATA, "nameless-1.0.dist-info/METADATA"),
            (Problem.WRONG_SIZE, "nameless-1.0.dist-info/METADATA"),
            (Problem.WRONG_HASH, "nameless-1.0.dist-info/METADATA"),
        ],
    }


def test_one_unreadable_distribution_does_not_end_the_audit(run: Run, tmp_path: Path) -> None:
    sound_environment(tmp_path / "site")
    (install(tmp_path / "site", "garbled", {"__init__.py": b""}) / "RECORD").write_bytes(b"\xff\xfe")

    summary = run(audited(tmp_path / "out", tmp_path / "site"))

    assert (summary.distributions, summary.unreadable) == (6, 1)
    assert list(report_in(tmp_path / "out").unreadable) == ["garbled-1.0.dist-info"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [("note.txt,md4=AAAA,5", Problem.UNKNOWN_HASH), ("other.txt,,", Problem.MISSING_FILE)],
)
def test_rows_of_a_record_are_taken_as_they_are(run: Run, tmp_path: Path, row: str, problem: Problem) -> None:
    """A hash nobody knows is reported, and so is a missing file that was recorded without a hash."""
    info = install(tmp_path / "site", "lone", {"__init__.py": b""})
    (tmp_path / "site/note.txt").write_bytes(b"hello")
    (info / "RECORD").write_text(f"{row}\n")

    run(audited(tmp_path / "out", tmp_path / "site"))

    (lone,) = report_in(tmp_path / "out").distributions
    assert [finding.problem for finding in lone.findings] == [problem]


def test_a_size_that_is_no_number_makes_a_distribution_unreadable(run: Run, tmp_path: Path) -> None:
    info = install(tmp_path / "site", "lone", {"__init__.py": b""})
    (info / "RECORD").write_text("lone/__init__.py,,many\n")

    summary = run(audited(tmp_path / "out", tmp_path / "site"))

    assert (summary.distributions, summary.unreadable) == (0, 1)


def test_running_again_with_the_same_id_gives_the_stored_result(run: Run, tmp_path: Path) -> None:
    """Nothing is read or written a second time: the report that was removed stays removed."""
    sound_environment(tmp_path / "site")

    async def twice() -> tuple[object, object, int]:
        async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
            first = await runtime.run(audit.options(id="audit"), tmp_path / "out", tmp_path / "site")
        (tmp_path / "out/audit.json").unlink()
        async with Runtime(store=f"sqlite:///{tmp_path}/runs.db") as runtime:
            second = await runtime.run(audit.options(id="audit"), tmp_path / "out", tmp_path / "site")
            facts = await runtime.facts("audit")
        return first, second, sum(isinstance(fact, StepFinished) for fact in facts)

    first, second, finished = run(twice())

    assert first == second
    assert finished == 1 + len(SOUND) + 1  # the list, each distribution, the report
    assert not (tmp_path / "out/audit.json").exists()


def test_the_program_audits_the_environment_it_runs_in(program: Program, workplace: Path) -> None:
    """What it says of a distribution is what a plain loop over its files says."""
    done = program("audit.py", "--out", "report")

    assert (done.returncode, done.stderr) == (0, "")
    report = report_in(workplace / "report")
    named = {one.name: one for one in report.distributions}
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    installed = {found.metadata["Name"]: found for found in distributions(path=folders) if found.read_text("RECORD")}
    assert set(installed) <= set(named)
    for name in ("pydantic", "pytest"):
        assert named[name].version == installed[name].version
        assert {finding.path for finding in named[name].findings} == _damaged(installed[name])
    assert done.stdout.startswith(f"{sum(one.files for one in report.distributions)} files of ")


def _damaged(distribution: Any) -> set[str]:
    """Return the files whose content is not what RECORD says, found out without the example."""
    wrong = set()
    for file in distribution.files:
        if file.hash is not None and file.locate().exists():
            digest = hashlib.new(file.hash.mode, file.locate().read_bytes()).digest()
            if urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                wrong.add(str(file))
    return wrong


def test_the_program_finds_a_corrupted_file(program: Program, workplace: Path) -> None:
    sound_environment(workplace / "site")
    (workplace / "site/elm/data.bin").write_bytes(b"ELM" * 100)

    done = program("audit.py", "--site", "site")

    assert done.returncode == 0
    assert "6 distributions: 1 findings" in done.stdout
    findings = [finding for one in json.loads((workplace / "audit-report/audit.json").read_text())["distributions"]
                for finding in one["findings"]]  # fmt: skip
    assert [(finding["problem"], finding["path"]) for finding in findings] == [("wrong hash", "elm/data.bin")]


def test_the_program_run_again_repeats_its_stored_answer(program: Program, workplace: Path) -> None:
    sound_environment(workplace / "site")

    answers = [program("audit.py", "--site", "site").stdout for _ in range(2)]

    assert answers[0] == answers[1]
