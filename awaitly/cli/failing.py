"""How errors look: one message with its code and what to do, on standard error, and an exit status."""

import logging
import os
import traceback

import click
from rich.text import Text

from awaitly.cli.consoles import stderr
from awaitly.cli.positions import shortened
from awaitly.errors import AwaitlyError, CompileError, ConfigurationError, InvalidInput, TargetError
from awaitly.model.graph import Diagnostic, Severity
from awaitly.model.names import nearest
from awaitly.settings import Settings

DEBUG = "AWAITLY_DEBUG"

FAILED = 1
USAGE = 2
INTERRUPTED = 130

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}
_USAGE_ERRORS = (ConfigurationError, InvalidInput, TargetError)


def failed(error: BaseException) -> int:
    """Print what went wrong and return the exit status."""
    match error:
        case click.exceptions.Abort():
            stderr().print("stopped")
            return INTERRUPTED
        case click.UsageError():
            _usage(error)
            return USAGE
        case click.ClickException():
            say(error.format_message(), code="usage-error")
            return error.exit_code
        case AwaitlyError():
            say(error.message, code=error.code, hint="" if isinstance(error, CompileError) else error.hint)
            return USAGE if isinstance(error, _USAGE_ERRORS) else FAILED
        case _:
            where = traceback.extract_tb(error.__traceback__)[-1]
            say(
                f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})",
                code="unexpected-error",
                hint="this is a defect of awaitly or of the code that it called: AWAITLY_DEBUG=1 shows the traceback",
            )
            return FAILED


def say(message: str, *, code: str, hint: str = "", word: str = "error") -> None:
    """Print a message in the form of all errors."""
    text = Text.assemble((word, "bold red"), (f" [{code}]", "red"), ": ", shortened(message.rstrip()))
    if hint:
        text.append("\n  hint: ", "bold")
        text.append(hint)
    stderr().print(text)


def warn(message: str) -> None:
    """Print something that does not stop the command."""
    stderr().print(Text.assemble(("warning", "bold yellow"), ": ", shortened(message)))


def _usage(error: click.UsageError) -> None:
    hint = f"{error.ctx.command_path} --help shows how it is used" if error.ctx is not None else ""
    code = "usage-error"
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        code = "unknown-option"
        message = f"there is no option {error.option_name}"
        if error.possibilities:
            close = nearest(error.option_name, error.possibilities)
            hint = f"did you mean {close or ' or '.join(sorted(error.possibilities))}? {hint}"
    say(message, code=code, hint=hint)


def diagnosis(found: Diagnostic) -> Text:
    """Return a diagnostic as a message: place, strength, code, what was found and what to do."""
    where = f"{found.position}: " if found.position else ""
    return Text.assemble(
        shortened(where),
        (found.severity.value, _COLOURS[found.severity]),
        shortened(f" [{found.code}]: {found.message}\n  hint: {found.hint}"),
    )


class _Log(logging.Handler):
    """Prints what the engine logs as warnings, apart from what the command says itself."""

    def emit(self, record: logging.LogRecord) -> None:
        about = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if isinstance(about, Diagnostic):
            if about.message not in _told:
                stderr().print(diagnosis(about))
        elif not (isinstance(about, str) and about in _told):
            warn(record.getMessage())


_told: set[str] = set()  # ids of runs whose errors the command prints, and warnings that it has printed


def tells_of(what: str) -> None:
    """Leave what is logged about a run, by its id, or a warning, by its text, to the command, which prints it."""
    _told.add(what)


def debugging() -> bool:
    """Whether tracebacks and logs are wanted."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def leave_log(settings: Settings) -> None:
    """Leave awaitly's log to the runtime if settings say how it is written: to standard error, like messages."""
    if settings.logs.format is not None:
        log = logging.getLogger("awaitly")
        log.handlers, log.propagate = [], True


def quieten() -> None:
    """Let awaitly's log be messages like the command's own; whole records when debugging."""
    _told.clear()
    log = logging.getLogger("awaitly")
    log.handlers = [logging.StreamHandler() if debugging() else _Log(logging.WARNING)]
    log.propagate = False
