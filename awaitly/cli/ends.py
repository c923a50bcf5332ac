"""How a run ended, printed: the value as JSON, a failure with its fields, and the exit status of each."""

from collections.abc import Callable, Coroutine
from typing import Any

from pydantic_core import to_jsonable_python
from rich.text import Text

from awaitly.cli.conducting import Ended
from awaitly.cli.consoles import print_json, stderr
from awaitly.cli.failing import FAILED, debugging, failed, say
from awaitly.cli.interrupts import Interrupted
from awaitly.cli.targets import blamed
from awaitly.cli.ways import Ways
from awaitly.errors import AwaitlyError, Failure, RunCancelled, UnexpectedError
from awaitly.model.state import Status
from awaitly.result import Err, Ok


def finished(
    execute: Callable[[Coroutine[Any, Any, Ended]], Ended],
    work: Coroutine[Any, Any, Ended],
    ways: Ways,
    as_json: bool,
) -> int:
    """Execute, print how it ended and return the exit status."""
    try:
        ended = execute(work)
    except Interrupted as interrupted:
        stderr().print("stopped before the run began")
        return interrupted.status
    except AwaitlyError as error:
        status = failed(error)
        for note in getattr(error, "__notes__", ()):
            stderr().print(note)
        return status
    return printed(ended, ways, as_json)


def printed(ended: Ended, ways: Ways, as_json: bool) -> int:
    """Print the end of a run and return the exit status."""
    match ended.result:
        case None:
            stderr().print(f"{ended.id} is suspended; continue with: {ways.again(ended.id)}")
            return ended.status
        case Ok(value):
            print_json(_document(ended, Status.SUCCEEDED, "result", value) if as_json else value)
            return 0
        case Err(error):
            if as_json:
                status = Status.CANCELLED if isinstance(error, RunCancelled) else Status.FAILED
                print_json(_document(ended, status, "error", described(error)))
            else:
                _print_failure(error)
                if ended.durable:
                    stderr().print(f"look at it with: {ways.show(ended.id)}")
                if ended.durable and type(error) is UnexpectedError:
                    stderr().print(ways.mended(ended.id))
            return FAILED


def _document(ended: Ended, status: Status, name: str, value: Any) -> dict[str, Any]:
    return {"id": ended.id, "workflow": ended.workflow, "status": status, name: value}


def described(error: Any) -> dict[str, Any]:
    """Return an error as JSON: its class, its text, its fields and, of an unexpected one, the step."""
    if not isinstance(error, BaseException):
        return {"value": error}
    cls = type(error)
    name = error.type_name if isinstance(error, UnexpectedError) else f"{cls.__module__}:{cls.__qualname__}"
    document: dict[str, Any] = {"type": name, "message": str(error)}
    if isinstance(error, AwaitlyError):
        document |= {"message": error.message, "code": error.code}
    if isinstance(error, UnexpectedError) and error.step:
        document["step"] = error.step
    if fields := _fields(error):
        document["fields"] = fields
    return document


def _fields(error: BaseException) -> dict[str, Any]:
    if isinstance(error, AwaitlyError):
        return {}
    shown = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return {name: to_jsonable_python(value, fallback=str) for name, value in shown.items()}


def _place(error: AwaitlyError) -> str:
    """Return where an unexpected error was raised, as a line of its own."""
    text = getattr(error, "traceback", None)
    place = blamed(text) if text else None
    return f"\n  at {place}" if place else ""


def _print_failure(error: Any) -> None:
    text = getattr(error, "traceback", None)
    if isinstance(error, UnexpectedError) and text and debugging():
        stderr().print(Text(text))
    if not isinstance(error, BaseException):
        say(f"the workflow returned Err({error!r})", code="run-failed", word="failed")
    elif isinstance(error, UnexpectedError) and error.cause_code:
        where = f"{error.step}: " if error.step else ""
        say(f"{where}{error.message}", code=error.cause_code, hint=error.hint, word="failed")
    elif isinstance(error, AwaitlyError):
        plain = type(error) is UnexpectedError  # its text says what was raised, and where
        text = str(error).removesuffix(f" [{error.code}]") if plain else error.message
        say(f"{text}{_place(error)}", code=error.code, hint=error.hint, word="failed")
    else:
        fields = "".join(f"\n  {name}: {value}" for name, value in _fields(error).items())
        text = "" if isinstance(error, Failure) else f": {error}"
        say(f"{type(error).__qualname__}{text}{fields}", code="run-failed", word="failed")
