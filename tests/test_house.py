"""The rules of the house that no other tool holds."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import awaitly
from awaitly import errors
from awaitly.errors import AwaitlyError, RunSuspended

PACKAGE = Path(awaitly.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FUNCTION = 78
LONGEST_MODULE = 450

# What only settings, retries, logs, traces or the command line need comes when they are first used.
LATE = {"pydantic_settings", "tenacity", "opentelemetry", "structlog", "rich", "click"}

# Likewise the stages that only a runtime needs; of executing, declarations reach what opens one, in its own loop.
LATE_STAGES = ("cli", "serve", "webhooks", "engines", "compile", "settings", "persist", "observe", "render", "execute")
EARLY = {"awaitly.execute", "awaitly.execute.keeping", "awaitly.execute.loops"}


def place(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(), filename=place(module))


def imported(statement: str) -> set[str]:
    """Import in a fresh interpreter; return the modules that came with it."""
    code = f"import sys; {statement}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(answer.stdout.split())


def imported_roots(statement: str) -> set[str]:
    """Likewise, their top-level names."""
    return {name.partition(".")[0] for name in imported(statement)}


def source_lines(module: Path) -> set[int]:
    """Return the numbers of the lines that are neither blank nor comment nor docstring."""
    lines = module.read_text().splitlines()
    code = {n for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return code


ERRORS = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, AwaitlyError)]


def test_the_face_only_imports_and_lists_names() -> None:
    tree = parsed(PACKAGE / "__init__.py")

    kinds = {type(node) for node in tree.body[1:]}

    assert kinds <= {ast.ImportFrom, ast.Assign}


def test_the_face_lists_what_it_imports_sorted() -> None:
    tree = parsed(PACKAGE / "__init__.py")
    imported = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]

    assert list(getattr(awaitly, "__all__", [])) == sorted(imported)


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(parsed(module))


@pytest.mark.parametrize("module", [m for m in MODULES if m != PACKAGE / "__init__.py"], ids=place)
def test_nothing_imports_the_face(module: Path) -> None:
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            assert "awaitly" not in [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "awaitly":
            pytest.fail(f"line {node.lineno} imports from awaitly itself: name the module")


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_module_is_short(module: Path) -> None:
    assert len(source_lines(module)) <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_function_is_short(module: Path) -> None:
    code = source_lines(module)
    lengths = {
        node.name: len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", [m for m in MODULES if place(m) != "errors.py"], ids=place)
def test_errors_with_codes_are_defined_in_one_place(module: Path) -> None:
    classes = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.ClassDef)]

    assert [cls.name for cls in classes if any(keyword.arg == "code" for keyword in cls.keywords)] == []


def test_every_error_code_is_kebab_case() -> None:
    codes = [RunSuspended.code, *(code for cls in ERRORS for code in cls.codes)]

    assert [code for code in codes if not re.fullmatch(r"[a-z]+(-[a-z]+)+", code)] == []


def test_every_error_code_belongs_to_one_class() -> None:
    owners = Counter([RunSuspended.code, *(code for cls in ERRORS for code in cls.codes)])

    assert [code for code, count in owners.items() if count > 1] == []


def test_every_error_stands_in_the_tree_that_its_module_draws() -> None:
    drawing = errors.__doc__ or ""
    drawn = [name for cls in ERRORS if cls is not AwaitlyError for name in (cls.__name__, *cls.codes)]

    assert [name for name in drawn if name not in drawing] == []


def test_errors_and_results_come_without_pydantic() -> None:
    assert "pydantic" not in imported_roots("import awaitly.errors, awaitly.result")


def test_importing_awaitly_brings_nothing_that_waits_for_its_first_use() -> None:
    assert imported_roots("import awaitly") & LATE == set()


def test_importing_awaitly_brings_no_stage_that_only_a_runtime_needs() -> None:
    stages = tuple(f"awaitly.{stage}" for stage in LATE_STAGES)

    assert {name for name in imported("import awaitly") if name.startswith(stages)} == EARLY
