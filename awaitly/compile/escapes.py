"""Errors on their way out of a body, and what an ``except`` clause stops."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_origin

from awaitly.compile.reading import FunctionReading
from awaitly.compile.signatures import text_of, typed_signature
from awaitly.compile.targets import Instance, Native, StepTarget, Target, WorkflowTarget
from awaitly.declare.step import Step
from awaitly.errors import AwaitlyError, Failure, UnwrapError
from awaitly.model.graph import Position
from awaitly.policies.fallback import Fallback


@dataclass(frozen=True, slots=True)
class Escape:
    """An error that can leave a piece of code, and where it comes from."""

    error: Any  # an exception class, or the annotation of a plain error value
    source: str  # "step charge", "workflow pay", "raise", "return"
    position: Position
    grouped: bool = False  # inside the ExceptionGroup that a TaskGroup makes
    answered: bool = False  # by a fallback: it leaves only where an operator has switched that off

    @property
    def plain(self) -> bool:
        """Whether it is a value that is no exception, as in ``Err("NOT_FOUND")``."""
        return not (isinstance(self.error, type) and issubclass(self.error, BaseException))

    @property
    def cls(self) -> type[BaseException]:
        """The class that handlers see, but for groups; plain values arrive in an ``UnwrapError``."""
        return UnwrapError if self.plain else self.error

    @property
    def text(self) -> str:
        """The error as people write it."""
        return text_of(self.error)


Escapes: TypeAlias = frozenset[Escape]
NOTHING: Escapes = frozenset()


@dataclass(frozen=True, slots=True)
class Catcher:
    """What an ``except`` clause or ``suppress`` catches; ``known`` is false if a class in it cannot be told."""

    classes: tuple[type[BaseException], ...]
    known: bool = True
    star: bool = False

    def may_catch(self, escape: Escape) -> bool:
        """Whether errors like ``escape`` can end up here; a declared class stands for its subclasses too."""
        return not self.known or any(
            issubclass(seen, cls) or issubclass(cls, seen) for seen in self._seen(escape) for cls in self.classes
        )

    def stops(self, escape: Escape) -> bool:
        """Whether no error like ``escape`` gets past. What is unknown gets the benefit of the doubt."""
        return not self.known or any(issubclass(seen, self.classes) for seen in self._seen(escape))

    def _seen(self, escape: Escape) -> tuple[type[BaseException], ...]:
        return (ExceptionGroup,) if escape.grouped and not self.star else (escape.cls,)


def catcher(function: FunctionReading, expressions: Iterable[ast.expr], *, star: bool = False) -> Catcher:
    """Return what clauses with these class expressions catch together."""
    found = [classes_of(function, expression) for expression in expressions]
    known = [cls for classes in found if classes is not None for cls in classes]
    return Catcher(tuple(known), known=None not in found, star=star)


def handler_catcher(function: FunctionReading, handler: ast.ExceptHandler, *, star: bool = False) -> Catcher:
    """Return what an ``except`` clause catches."""
    return Catcher((BaseException,)) if handler.type is None else catcher(function, [handler.type], star=star)


def classes_of(function: FunctionReading, expression: ast.expr) -> tuple[type[BaseException], ...] | None:
    """Return the exception classes that an expression stands for, a tuple of them included; None if unknown."""
    if isinstance(expression, ast.Tuple):
        parts = [classes_of(function, element) for element in expression.elts]
        return None if None in parts else tuple(cls for part in parts if part for cls in part)
    found: list[type[BaseException]] = []
    for target in function.resolve(expression):
        values = target.value if isinstance(target, Native) else None
        for value in values if isinstance(values, tuple) else (values,):
            if not (isinstance(value, type) and issubclass(value, BaseException)):
                return None
            found.append(value)
    return tuple(found)


def raised_classes(function: FunctionReading, expression: ast.expr) -> tuple[type[BaseException], ...] | None:
    """Return the classes of what ``raise expression`` raises; None if unknown."""
    match expression:
        case ast.IfExp(body=one, orelse=other):
            first, second = raised_classes(function, one), raised_classes(function, other)
            return None if first is None or second is None else first + second
        case ast.Call(func=made):
            if (classes := classes_of(function, made)) is not None:
                return classes
    found = [cls for target in function.resolve(expression) if (cls := _class_of(target))]
    return tuple(found) if found and len(found) == len(function.resolve(expression)) else None


def _class_of(target: Target) -> type[BaseException] | None:
    match target:
        case Native(value=type() as cls) | Instance(cls=cls) if issubclass(cls, BaseException):
            return cls
        case Native(value=BaseException() as error):
            return type(error)
        case _:
            return None


def declared_by(target: StepTarget | WorkflowTarget) -> tuple[Any, ...]:
    """Return the errors that a step or workflow declares: by ``errors=`` and by its return annotation."""
    if isinstance(target, StepTarget):
        errors, fn = target.step.options.errors, target.step.fn
    else:
        errors, fn = target.workflow.declared.errors, target.workflow.fn
    returns = typed_signature(fn).returns
    return tuple(dict.fromkeys((*errors, *returns.errors, *returns.plain_errors)))


def failing_with(target: StepTarget | WorkflowTarget) -> tuple[Any, ...]:
    """Return the errors that a call can fail with: a fallback answers for some of a step's own, and has its own."""
    if not isinstance(target, StepTarget):
        return declared_by(target)
    return tuple(dict.fromkeys((*_own(target.step), *substitute_errors(target.step))))


def answered(step: Step[..., Any, Any], error: Any) -> bool:
    """Whether no call of a step fails with one of its declared errors, as a fallback answers for it."""
    return all(_answers(one.options.policies.fallback, error) for one in _chosen(step))


def substitute_errors(step: Step[..., Any, Any]) -> tuple[type[BaseException], ...]:
    """Return the classes that the fallbacks of a step, where they are steps, declare."""
    found: dict[type[BaseException], None] = {}
    seen, pending = {step}, [step]
    while pending:
        for one in _chosen(pending.pop()):
            other = getattr(one.options.policies.fallback, "to", None)
            if isinstance(other, Step) and other not in seen:
                seen.add(other)
                pending.append(other)
                classes = (error for error in _own(other) if isinstance(error, type))
                found |= dict.fromkeys(classes)
    return tuple(found)


def _own(step: Step[..., Any, Any]) -> tuple[Any, ...]:
    """Return the declared errors of a step that no fallback of its own answers for."""
    return tuple(error for error in declared_by(StepTarget(step)) if not answered(step, error))


def _chosen(step: Step[..., Any, Any]) -> tuple[Step[..., Any, Any], ...]:
    return (step, *(variant.step for variant in step.variants))


def _answers(fallback: object, error: Any) -> bool:
    if not isinstance(fallback, Fallback):
        return False
    is_class = isinstance(error, type) and issubclass(error, BaseException)
    return issubclass(error if is_class else Exception, fallback.on)  # a plain value travels in an Exception


def covers(declared: Iterable[Any], error: Any) -> bool:
    """Whether one of the declared errors, classes or annotations of plain values, includes ``error``."""
    return any(_includes(one, error) for one in declared)


def _includes(declared: Any, error: Any) -> bool:
    if declared is Any or declared == error:
        return True
    if get_origin(error) is Literal:
        allowed = get_args(declared) if get_origin(declared) is Literal else None
        return all(value in allowed if allowed else _is_a(type(value), declared) for value in get_args(error))
    return _is_a(error, declared)


def _is_a(found: Any, declared: Any) -> bool:
    return isinstance(found, type) and isinstance(declared, type) and issubclass(found, declared)


def is_expected(escape: Escape, declared: Iterable[Any] = ()) -> bool:
    """Whether an error arrives as itself outside: everything declared does, and every ``Failure`` that is raised."""
    if escape.grouped:
        return False
    if escape.plain or covers(declared, escape.error):
        return True
    if not issubclass(escape.error, Exception):
        return False
    if escape.source.startswith(("step ", "workflow ")):
        return True
    return issubclass(escape.error, Failure) or (
        escape.source == "return" and not issubclass(escape.error, AwaitlyError)
    )
