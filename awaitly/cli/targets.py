"""TARGET: from ``module:name`` or ``path/to/file.py:name`` to a workflow."""

import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from awaitly.cli.positions import relative
from awaitly.declare.step import Step
from awaitly.declare.workflow import Workflow
from awaitly.errors import AwaitlyError, ConfigurationError, TargetError, UsageError
from awaitly.model.names import nearest

AnyWorkflow: TypeAlias = Workflow[..., Any, Any]


def workflow_of(target: str) -> AnyWorkflow:
    """Return the workflow that a target names.

    Raises:
        TargetError: If its module, its file or its name does not exist, does not import, or is no workflow.
        AwaitlyError: What its decorators object to.
    """
    place, name = _split(target)
    module = _module(place)
    if not name:
        raise TargetError(f"{target} names no workflow", code="target-not-found", hint=_offer(place, module, ""))
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Workflow):
        return found
    if found is None:
        raise TargetError(f"{place} has no {name!r}", code="target-not-found", hint=_offer(place, module, name))
    kind = "a step" if isinstance(found, Step) else f"a {type(found).__name__}"
    raise TargetError(f"{target} is {kind}, not a workflow", code="not-a-workflow", hint=_offer(place, module, name))


def workflows_of(target: str) -> dict[str, AnyWorkflow]:
    """Return the workflow that a target names, or all that its module defines if it names none, by their targets.

    Raises:
        TargetError: If there is none.
        AwaitlyError: What its decorators object to.
    """
    place, name = _split(target)
    if name:
        return {target: workflow_of(target)}
    module = _module(place)
    found = workflows_in(module)
    # What a module has from others is theirs, unless it is there to offer it.
    own = {name: one for name, one in found.items() if one.fn.__module__ == module.__name__} or found
    if not own:
        raise TargetError(f"{place} has no workflow", code="target-not-found", hint=_offer(place, module, ""))
    named = {id(one): f"{place}:{name}" for name, one in reversed(own.items())}
    return {named[id(one)]: one for one in own.values()}


def workflows_in(module: ModuleType) -> dict[str, AnyWorkflow]:
    """Return the workflows of a module by the names that they have there."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Workflow)}


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or name.endswith(".py") or "/" in name or "\\" in name:  # C:\flows.py
        return target, ""
    return place, name


def _offer(place: str, module: ModuleType, name: str) -> str:
    names = list(workflows_in(module))
    if not names:
        return f"there is no workflow in {place}: put @workflow above an async def"
    close = nearest(name, names) if name else None
    if close:
        return f"did you mean {place}:{close}? The workflows there are {', '.join(names)}"
    return f"name one of its workflows, as in {place}:{names[0]}. They are {', '.join(names)}"


def _module(place: str) -> ModuleType:
    if place.endswith(".py") or "/" in place or "\\" in place:
        path = Path(place).resolve()
        if not path.is_file():
            raise TargetError(f"there is no file {place}", code="target-not-found", hint=_files(path))
        name, folder = _importable(path)
        _precede(folder)
        _refuse_other(name, path)
        return _imported(name, place)
    _precede(Path.cwd())
    return _imported(place, place)


def _importable(path: Path) -> tuple[str, Path]:
    """Return the name under which a file is imported, the same from everywhere, and the folder that makes it so."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def _precede(folder: Path) -> None:
    for each in (Path.cwd(), folder):
        text = str(each)
        if text in sys.path:
            sys.path.remove(text)
        sys.path.insert(0, text)
    importlib.invalidate_caches()


def _refuse_other(name: str, path: Path) -> None:
    """Refuse a file that hides behind another module: what it stores would be looked for there."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: __main__
        return
    if spec is not None and spec.origin is not None and not _same(spec.origin, path):
        raise TargetError(
            f"{path.name} would be imported as {name}, which is {spec.origin}",
            code="import-failed",
            hint="rename the file: the name under which it is imported is stored with its classes",
        )


def _same(origin: str, path: Path) -> bool:
    return origin not in ("built-in", "frozen") and Path(origin).resolve() == path


def _files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    names = [file.name for file in folder.glob("*.py")]
    close = nearest(path.name, names)
    return f"did you mean {close}?" if close else "write path/to/file.py:name, or module:name for what is installed"


def _imported(name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ConfigurationError, UsageError) as error:
        if ".py:" not in error.message:  # an option of a policy, which belongs to no step yet
            error.message = f"{error.message} ({_blamed(error)})"
        raise
    except AwaitlyError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            close = nearest(name, [file.stem for file in Path.cwd().glob("*.py")])
            raise TargetError(
                f"there is no module {error.name!r}",
                code="target-not-found",
                hint=f"did you mean {close}?" if close else "name a file instead: path/to/file.py:name",
            ) from error
        raise _import_failed(place, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(place, error) from error


def _import_failed(place: str, error: BaseException) -> TargetError:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return TargetError(
        f"{place} does not import: {text} ({_blamed(error)})",
        code="import-failed",
        hint="AWAITLY_DEBUG=1 shows the traceback",
    )


def _blamed(error: BaseException) -> str:
    """Return the file and line of the innermost frame that is the user's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{relative(error.filename)}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and "importlib" not in frame.filename and frame.filename != __file__
    ]  # fmt: skip
    if not frames:
        return "no line known"
    own = [frame for frame in frames if not _foreign(frame.filename)]
    blamed = (own or frames)[-1]
    return f"{relative(blamed.filename)}:{blamed.lineno}"


def blamed(text: str) -> str | None:
    """Return the file and line of the innermost frame in a traceback's text that is the user's own."""
    own = [place for place in _FRAME.findall(text) if not (place[0].startswith("<") or _foreign(place[0]))]
    return f"{relative(own[-1][0])}:{own[-1][1]}" if own else None


_FRAME = re.compile(r'^ *(?:\| *)?File "(.+)", line (\d+)', re.MULTILINE)


def _foreign(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith((sys.base_prefix, str(Path(__file__).parents[1])))
