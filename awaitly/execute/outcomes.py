"""How a call ended, as a value: what its waiters take and what the journal keeps."""

from dataclasses import dataclass
from typing import Any

from awaitly.errors import UnexpectedError, Unserialisable, UnwrapError
from awaitly.model.facts import Ending, StepFinished
from awaitly.model.program import StepBinding, ValueCodec
from awaitly.result import Err, Ok


@dataclass(slots=True, eq=False)
class Outcome:
    """A value, or an error with the exception that carries it into the body."""

    ending: Ending
    value: Any = None
    error: Any = None
    raised: BaseException | None = None

    def take(self) -> Any:
        """Return the value or raise the failure."""
        if self.raised is not None:
            raise self.raised
        return self.value

    def result(self) -> Ok[Any] | Err[Any]:
        """Return the outcome as a ``Result``."""
        return Ok(self.value) if self.raised is None else Err(self.error)


class Returned(Exception):
    """Carries a plain value that a step returned as ``Err`` through its policies, which see exceptions."""

    retryable = False

    def __init__(self, error: Any) -> None:
        super().__init__(error)
        self.error = error


def raisable(error: Any, step: str) -> BaseException:
    """Return what raises ``error``: itself, or a carrier for plain values such as ``Err("NOT_FOUND")``."""
    if isinstance(error, BaseException):
        return error
    return UnwrapError(f"{step} returned Err({error!r})", error=error)


def carried(error: BaseException) -> Any:
    """Return the plain value that :func:`raisable` wrapped, or the error itself."""
    return error.error if isinstance(error, UnwrapError) else error


def succeeded(binding: StepBinding, value: Any) -> tuple[Outcome, bytes]:
    """Encode the value of a step; the body receives what replay would."""
    try:
        payload, restored = binding.result.roundtrip(value)
    except Unserialisable as problem:
        return failed(binding, problem)
    return Outcome(Ending.VALUE, value=restored), payload


def failed(binding: StepBinding, error: BaseException) -> tuple[Outcome, bytes]:
    """Encode what escaped from a step: a declared failure, or something unexpected."""
    if isinstance(error, Returned):
        return _encoded_error(binding.failure, Ending.FAILURE, error.error, binding.name)
    if isinstance(error, binding.errors):
        return _encoded_error(binding.failure, Ending.FAILURE, error, binding.name)
    unexpected = UnexpectedError.of(error, step=binding.name)
    return _encoded_error(binding.failure, Ending.UNEXPECTED, unexpected, binding.name)


def _encoded_error(codec: ValueCodec, ending: Ending, error: Any, step: str) -> tuple[Outcome, bytes]:
    ending, payload, restored = encoded(codec, ending, error, step)
    return Outcome(ending, error=restored, raised=raisable(restored, step)), payload


def encoded(codec: ValueCodec, ending: Ending, error: Any, name: str) -> tuple[Ending, bytes, Any]:
    """Encode a failure of a step or a workflow, whatever it is: one that cannot be stored is an unexpected one."""
    try:
        return ending, *codec.roundtrip(error)
    except Unserialisable as problem:
        if isinstance(error, UnexpectedError):
            payload, restored = codec.roundtrip(_bare(error))
            restored.__cause__ = error.__cause__  # here, if not in the store
            return ending, payload, restored
        unexpected = UnexpectedError.of(problem, step=name)
    return encoded(codec, Ending.UNEXPECTED, unexpected, name)


def _bare(error: UnexpectedError) -> UnexpectedError:
    """Return the same without whatever else it carries, such as causes: only text, which can always be stored."""
    return UnexpectedError(
        error.message, type_name=error.type_name, notes=error.notes, step=error.step, traceback=error.traceback,
        cause_code=error.cause_code, hint=error.hint,
    )  # fmt: skip


def reported(binding: StepBinding, payload: bytes) -> Exception:
    """Return an error that was encoded before, as the step's policies see it.

    Raises:
        CorruptCheckpoint: If it is none that the step can have.
    """
    error = binding.failure.decode(payload)
    return error if isinstance(error, Exception) else Returned(error)


def was(error: Exception, kind: type[Exception]) -> bool:
    """Whether an error is of a class, or stands for one of that class, as an undeclared one does once it was stored."""
    if isinstance(error, kind):
        return True
    if not isinstance(error, UnexpectedError):
        return False
    if error.type_name in (kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"):
        return True
    return any(was(error, narrower) for narrower in kind.__subclasses__())


def restored(binding: StepBinding, fact: StepFinished) -> Outcome:
    """Return the outcome that a fact recorded.

    Raises:
        CorruptCheckpoint: If the payload is not what the step's annotations say.
    """
    if fact.ending is Ending.VALUE:
        return Outcome(fact.ending, value=binding.result.decode(fact.payload))
    error = binding.failure.decode(fact.payload)
    return Outcome(fact.ending, error=error, raised=raisable(error, fact.step))
