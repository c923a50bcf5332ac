"""What goes wrong: expected failures of a business, and awaitly's own errors.

[`Failure`][awaitly.errors.Failure] is the base class of what callers are meant to handle. Every error of
awaitly itself derives from [`AwaitlyError`][awaitly.errors.AwaitlyError] and carries a `code`:

```text
Exception
├── Failure                  the expected failures that you declare
└── AwaitlyError
    │   before anything runs
    ├── CompileError         the code of its first diagnostic; compile-error without one
    ├── ConfigurationError   unknown-option, invalid-option, invalid-duration, invalid-setting,
    │                        duplicate-workflow-name, policy-conflict, unknown-breaker, unknown-limiter,
    │                        unknown-flag
    ├── UsageError           step-on-method, run-ended, running-loop, runtime-open, eager-tasks,
    │                        unknown-call-site, run-id-invalid, reserved-field, invalid-key,
    │                        not-in-step, other-thread, other-task, outbox-followed
    ├── NotSupported         not-supported
    ├── InvalidInput         invalid-input: data from outside that does not fit a workflow's signature
    ├── TargetError          target-not-found, not-a-workflow, import-failed: a workflow named as text
    │   a step
    ├── UnexpectedError      unexpected-error: whatever escapes a step or a body undeclared
    │   ├── DeadlineExceeded deadline-exceeded: the error of a run that took too long
    │   └── RunCancelled     run-cancelled: the error of a run that was cancelled
    ├── StepTimeout          step-timeout
    ├── StepDeadline         step-deadline
    ├── CircuitOpen          circuit-open
    ├── LimitReached         limit-reached
    ├── AmbiguousEffect      ambiguous-effect
    ├── KeyConflict          key-conflict
    ├── ChangedArguments     changed-arguments
    │   a run
    ├── RunConflict          run-conflict
    ├── RunIdConflict        run-id-conflict
    ├── RunNotFound          run-not-found
    ├── RunRefused           run-refused
    ├── RunStopped           run-stopped
    │   └── ShuttingDown     shutting-down
    ├── Overloaded           runtime-overloaded
    ├── StuckRun             run-stuck
    ├── Mismatch             graph-mismatch
    ├── LeaseLost            lease-lost
    │   what is stored
    ├── Unserialisable       unserialisable-result, unserialisable-argument
    ├── UnstorableType       unstorable-type
    ├── CorruptCheckpoint    corrupt-checkpoint
    ├── StoreError           store-unavailable, store-full, store-read-only, not-a-store,
    │                        weak-durability, store-newer, store-corrupt
    │   a result
    └── UnwrapError          unwrap-failed

BaseException
└── RunSuspended             run-suspended: passes through `except Exception`
```
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from traceback import format_exception
from typing import Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform, get_args

from awaitly.texts import valid

DOCS_URL = "https://awaitly.dev/errors/#"

ConfigurationCode = Literal[
    "unknown-option",
    "invalid-option",
    "invalid-duration",
    "invalid-setting",
    "duplicate-workflow-name",
    "policy-conflict",
    "unknown-breaker",
    "unknown-limiter",
    "unknown-flag",
]
UsageCode = Literal[
    "step-on-method",
    "run-ended",
    "running-loop",
    "runtime-open",
    "eager-tasks",
    "unknown-call-site",
    "run-id-invalid",
    "reserved-field",
    "not-in-step",
    "other-thread",
    "other-task",
    "invalid-key",
    "outbox-followed",
]
TargetCode = Literal["target-not-found", "not-a-workflow", "import-failed"]
UnserialisableCode = Literal["unserialisable-result", "unserialisable-argument"]
StoreCode = Literal[
    "store-unavailable",
    "store-full",
    "store-read-only",
    "not-a-store",
    "weak-durability",
    "store-newer",
    "store-corrupt",
]

X = TypeVar("X", bound=BaseException)


def _restore(cls: type[X], args: tuple[object, ...], state: Mapping[str, Any]) -> X:
    """Rebuild an exception without its `__init__`, whose parameters are not its `args`."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    if "__notes__" in state:
        error.__notes__ = list(state["__notes__"])
    return error


class AwaitlyError(Exception):
    """Base of every error that awaitly itself raises or returns.

    Args:
        message: what was found, and where.
        hint: what to do instead; a class may bring its own.
        code: which of its class's codes this error has, where there are several.

    Attributes:
        code: one kebab-case slug, the same in logs, spans, diagnostics and documentation.
        codes: every code that instances of the class carry.
        retryable: whether another attempt may succeed where this one failed.
    """

    retryable: bool = False
    codes: ClassVar[tuple[str, ...]] = ("awaitly-error",)
    code: str = "awaitly-error"
    hint: str = ""

    def __init_subclass__(cls, *, code: str | tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if code:
            cls.codes = (code,) if isinstance(code, str) else code
            cls.code = cls.codes[0]

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        message = valid(message)  # it quotes what people wrote, and is stored, logged and sent
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = valid(hint)
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        sentences = [_sentence(text) for text in (self.message, self.hint) if text]
        return " ".join([*sentences, f"[{self.code}]"])

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))

    @property
    def docs_url(self) -> str:
        """Where the documentation explains this code."""
        return DOCS_URL + self.code


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ":", "\n")) else f"{text}."


class Diagnosis(Protocol):
    """What a `CompileError` needs to know of a diagnostic."""

    @property
    def code(self) -> str:
        """The kebab-case slug of the rule that was broken."""
        ...


class CompileError(AwaitlyError, code="compile-error"):
    """A workflow does not compile; nothing has run.

    Attributes:
        diagnostics: everything that was found, the first one giving the error its code.
    """

    def __init__(self, message: str, *, diagnostics: Sequence[Diagnosis] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=diagnostics[0].code if diagnostics else None)
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        # A list of diagnostics says each one's code and hint by itself.
        return self.message.rstrip("\n") if "\n" in self.message else super().__str__()


class ConfigurationError(AwaitlyError, code=get_args(ConfigurationCode)):
    """A setting or an option names something unknown or has a value that does not fit."""

    def __init__(self, message: str, *, code: ConfigurationCode, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)


class UsageError(AwaitlyError, code=get_args(UsageCode)):
    """awaitly was called in a way that cannot work: a mistake in the program, found when it ran."""

    def __init__(self, message: str, *, code: UsageCode, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)


class NotSupported(AwaitlyError, code="not-supported"):
    """What was asked for is not built, or the store cannot do it. Nothing was begun."""


class InvalidInput(AwaitlyError, code="invalid-input"):
    """Arguments that came as data do not fit the workflow's signature; nothing has run."""


class TargetError(AwaitlyError, code=get_args(TargetCode)):
    """A workflow named as text, `module:name` or `path/to/file.py:name`, is not there."""

    def __init__(self, message: str, *, code: TargetCode, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)


class UnexpectedError(AwaitlyError, code="unexpected-error"):
    """An exception that no step or workflow declared: a bug or an outage.

    It says the same live and on replay; live, the original is its `__cause__`.

    Attributes:
        type_name: the original's class, with its module unless that is `builtins`.
        message: the original's text; of an error of awaitly its message alone, without hint and code.
        hint: what to do instead; of an error of awaitly its own hint.
        cause_code: the original's code when it is an error of awaitly, such as `step-timeout`.
        notes: the notes of the original.
        step: the step that it escaped from; None when the workflow's body raised it.
        traceback: the original's traceback as text.
    """

    retryable = True
    hint = "Correct it if it is a bug; errors= is only for failures that callers are meant to handle"
    cause_code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        type_name: str,
        notes: Sequence[str] = (),
        step: str | None = None,
        traceback: str | None = None,
        cause_code: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        if cause_code is not None:
            self.cause_code = cause_code
        self.type_name = valid(type_name)
        self.notes = tuple(valid(note) for note in notes)
        self.step = step
        self.traceback = None if traceback is None else valid(traceback)

    @classmethod
    def of(cls, error: BaseException, *, step: str | None = None) -> "UnexpectedError":
        """Describe `error`, which becomes the cause; one that is unexpected already stays as it is."""
        if isinstance(error, UnexpectedError):
            return error

        ours = error if isinstance(error, AwaitlyError) else None
        unexpected = cls(
            ours.message if ours else _text(error),
            type_name=_type_name(type(error)),
            notes=_notes(error),
            step=step,
            traceback=_traceback(error),
            cause_code=ours.code if ours else None,
            hint=(ours.hint or None) if ours else None,
        )
        unexpected.__cause__ = error
        return unexpected

    def __str__(self) -> str:
        raised = f"{self.type_name}: {self.message}" if self.message else self.type_name
        code = f"{self.code}: {self.cause_code}" if self.cause_code else self.code
        return f"{self.step} raised {raised} [{code}]" if self.step else f"{raised} [{code}]"

    def __repr__(self) -> str:
        if type(self) is not UnexpectedError:
            return super().__repr__()
        step = f", step={self.step!r}" if self.step else ""
        return f"UnexpectedError({self.message!r}, type_name={self.type_name!r}{step})"


def _type_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the error's own __str__ is foreign code, and must not hide the error
        return "<no text: its __str__ failed>"


def _notes(error: BaseException) -> list[str]:
    try:
        return [str(note) for note in getattr(error, "__notes__", ())]
    except Exception:  # noqa: BLE001 - anything can be assigned to __notes__
        return []


def _traceback(error: BaseException) -> str | None:
    if error.__traceback__ is None:
        return None
    try:
        return "".join(format_exception(error))
    except Exception:  # noqa: BLE001 - it asks the error for its text, its causes and more
        return None


class StepTimeout(AwaitlyError, code="step-timeout"):
    """An attempt of a step took longer than its `timeout`."""

    retryable = True


class StepDeadline(AwaitlyError, code="step-deadline"):
    """A call of a step, with all its attempts and waits, took longer than its `deadline`."""


class CircuitOpen(AwaitlyError, code="circuit-open"):
    """A circuit breaker turned a call away: the calls before it failed too often.

    Attributes:
        breaker: the name of the breaker.
        retry_after: the seconds until it lets a call try again; None when it was opened by hand.
    """

    hint = 'Try again later, use when_open="wait", or give the step a fallback'

    def __init__(
        self, message: str, *, breaker: str, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.breaker = breaker
        self.retry_after = retry_after


class LimitReached(AwaitlyError, code="limit-reached"):
    """A limiter turned a call away: it may not wait, or not so long, or too many wait already.

    Attributes:
        limiter: the name of the limiter.
        retry_after: the seconds until there would be room; None where nobody can know.
    """

    hint = 'Try again later, or let the limiter wait with mode="wait"'

    def __init__(
        self, message: str, *, limiter: str, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.limiter = limiter
        self.retry_after = retry_after


class AmbiguousEffect(AwaitlyError, code="ambiguous-effect"):
    """A step with `effect="once"` began, and nobody knows whether it happened, or what its outcome was."""

    hint = "Find out whether it happened, and register a function with its step's verify that does so from then on"


class KeyConflict(AwaitlyError, code="key-conflict"):
    """One key was given to two different pieces of work in a run."""


class ChangedArguments(AwaitlyError, code="changed-arguments"):
    """A resumed run calls a step with other arguments than those recorded."""


class DeadlineExceeded(UnexpectedError, code="deadline-exceeded"):
    """A run was not done by its deadline."""

    retryable = False
    hint = "Give the run more time with deadline=, or find out which step took it"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, type_name="awaitly.errors.DeadlineExceeded", hint=hint)

    __str__ = AwaitlyError.__str__


class RunCancelled(UnexpectedError, code="run-cancelled"):
    """The error of a run that was cancelled."""

    retryable = False
    hint = "Start it again under another id if it should happen after all"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, type_name="awaitly.errors.RunCancelled", hint=hint)

    __str__ = AwaitlyError.__str__


class RunConflict(AwaitlyError, code="run-conflict"):
    """The id belongs to a run that was started with other arguments."""


class RunIdConflict(AwaitlyError, code="run-id-conflict"):
    """The id belongs to a run of another workflow or of another parent."""


class RunNotFound(AwaitlyError, code="run-not-found"):
    """The store holds no run with this id."""


class RunRefused(AwaitlyError, code="run-refused"):
    """Attaching to a run, retrying or forking it was refused; the run is untouched."""


class RunStopped(AwaitlyError, code="run-stopped"):
    """A run stopped in this process without ending; it can be resumed."""


class ShuttingDown(RunStopped, code="shutting-down"):
    """The runtime is shutting down: it starts and continues no runs any more."""

    retryable = True
    hint = "Start the run in another process, or again when this one is back"


class Overloaded(AwaitlyError, code="runtime-overloaded"):
    """As many runs are executed here as may be; nothing was stored of another one."""

    retryable = True
    hint = "Try again later or in another process, raise max_active_runs, or let runs wait with overload=queue"


class StuckRun(AwaitlyError, code="run-stuck"):
    """A run was claimed again and again without getting further; it waits for `resume`."""


class Mismatch(AwaitlyError, code="graph-mismatch"):
    """What a run recorded does not fit the code that resumes it; nothing has run.

    Attributes:
        step: the step at which they part.
        where: its place in the source, as `file:line`, when it still has one.
        recorded: what the journal has there.
        found: what the code does there now.
    """

    hint = (
        "deploy the code that the run was started with, fork it from before that (awaitly runs fork --at), or cancel it"
    )

    def __init__(
        self,
        message: str,
        *,
        step: str | None = None,
        where: str | None = None,
        recorded: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.where = where
        self.recorded = recorded
        self.found = found


class LeaseLost(AwaitlyError, code="lease-lost"):
    """Another process owns the run now; this one wrote nothing and stopped it."""


class Unserialisable(AwaitlyError, code=get_args(UnserialisableCode)):
    """A value does not fit into the store as its annotation says."""

    def __init__(
        self, message: str, *, code: UnserialisableCode = "unserialisable-result", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)


class UnstorableType(AwaitlyError, code="unstorable-type"):
    """Values of this type cannot be stored and come back the same."""


class CorruptCheckpoint(AwaitlyError, code="corrupt-checkpoint"):
    """What the store holds is not what was written."""


class StoreError(AwaitlyError, code=get_args(StoreCode)):
    """A store cannot be reached, cannot be written, or is none; what it acknowledged is kept."""

    def __init__(self, message: str, *, code: StoreCode, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)


class UnwrapError(AwaitlyError, code="unwrap-failed"):
    """The value of an `Err` was asked for.

    Attributes:
        error: what the `Err` held.
    """

    hint = "Match on Ok and Err first, or use unwrap_or"

    def __init__(self, message: str, *, error: object, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.error = error


class RunSuspended(BaseException):
    """A run stops here without ending: shutdown, a lost lease, a store that is away.

    Not an `Exception`, so that `except Exception` in a body does not mistake it for a failure.

    Attributes:
        reason: why, in a few words.
    """

    code: ClassVar[str] = "run-suspended"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{_sentence(self.reason)} [{self.code}]"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, dataclasses.Field))
class Failure(Exception):
    """Base of expected failures: an exception whose annotated fields are its constructor's arguments.

    ```python
    class CardDeclined(Failure):
        decline_code: str

    class GatewayBusy(Failure, retryable=True):
        after: float = 1.0
    ```

    Failures are equal when their class and their fields are, match by position and by name, and come back
    from a store, a pickle or a copy as what they were. Type checkers treat the fields as read-only.

    Attributes:
        retryable: whether a retry policy tries again by default; set by the class keyword.
        not_executed: whether it says that nothing has happened, so that even a step with `effect="once"` may be
            attempted again; set by the class keyword.

    Raises:
        UsageError: when a subclass is defined with a field that exceptions need for themselves
            (`reserved-field`).
    """

    retryable: ClassVar[bool] = False
    not_executed: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, retryable: bool | None = None, not_executed: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_reserved(cls)
        if retryable is not None:
            cls.retryable = retryable
        if not_executed is not None:
            cls.not_executed = not_executed
        # Never really frozen: Python itself writes tracebacks, causes and notes to exceptions.
        dataclasses.dataclass(eq=False, repr=False)(cls)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        try:
            return hash((type(self), _compared(self)))
        except TypeError:  # a list or another unhashable value in a field
            return hash(type(self))

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in _shown(self))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in _shown(self))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


_RESERVED = {"args", "with_traceback", "add_note", "retryable"}


def _refuse_reserved(cls: type) -> None:
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if (name in _RESERVED or name.startswith("__")) and "ClassVar" not in str(annotation):
            instead = (
                f"Write class {cls.__name__}(..., retryable=True)"
                if name == "retryable"
                else "Choose another name for the field"
            )
            raise UsageError(
                f"{cls.__qualname__} has a field named {name!r}, which exceptions use themselves",
                code="reserved-field",
                hint=instead,
            )


def _compared(failure: Failure) -> tuple[object, ...]:
    return tuple(getattr(failure, field.name) for field in dataclasses.fields(failure) if field.compare)  # type: ignore[arg-type]


def _shown(failure: Failure) -> Iterator[tuple[str, object]]:
    return ((field.name, getattr(failure, field.name)) for field in dataclasses.fields(failure) if field.repr)  # type: ignore[arg-type]


# Done here rather than by decorating: a checker would call subclasses, frozen to it, ill-derived.
dataclasses.dataclass(eq=False, repr=False)(Failure)
