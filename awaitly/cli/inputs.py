"""--input: from JSON to the arguments of a workflow, checked field by field."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from awaitly.cli.targets import AnyWorkflow
from awaitly.compile.signatures import typed_signature
from awaitly.errors import InvalidInput
from awaitly.model.names import nearest


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a workflow is called with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_input(text: str | None) -> Any:
    """Return the JSON that ``--input`` gives: itself, of a file (``@name``), or from standard input (``-``).

    Raises:
        InvalidInput: If there is no such file or it is not JSON.
    """
    if text is None:
        return {}
    source, data = "--input", text
    if text == "-":
        source, data = "standard input", sys.stdin.read()
    elif text.startswith("@"):
        source = text[1:]
        try:
            data = Path(source).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise InvalidInput(f"{source} cannot be read: {why}", hint="name a file: --input @order.json") from error
    try:
        return from_json(data)
    except ValueError as error:
        raise InvalidInput(
            f"{source} is not JSON: {error}",
            hint="""quote it for the shell, as in --input '{"order": {"id": "1"}}', or use --input @file.json""",
        ) from error


def arguments_of(workflow: AnyWorkflow, given: Any) -> Arguments:
    """Return the arguments that JSON stands for: an object by names, or the value of the only parameter.

    Raises:
        InvalidInput: With pydantic's message for every field that does not fit.
    """
    typed = typed_signature(workflow.fn)
    parameters = typed.signature.parameters
    by_name = _by_name(parameters, given)
    if by_name is None:
        raise _refused(workflow, [f"found {_kind(given)} where an object of arguments is expected"])

    problems: list[str] = []
    values: dict[str, Any] = {}
    extra = next((each for each in parameters.values() if each.kind is Parameter.VAR_KEYWORD), None)
    for name, value in by_name.items():
        if name not in parameters and extra is None:
            problems.append(_unexpected(name, parameters))
        else:
            annotation = typed.hints.get(name if name in parameters or extra is None else extra.name, Any)
            if name in parameters and parameters[name].kind is Parameter.VAR_POSITIONAL:
                annotation = list[annotation]  # type: ignore[valid-type]
            values[name] = _validated(name, annotation, value, problems)
    problems += [f"{each.name}: Field required" for each in parameters.values() if _missing(each, by_name)]
    if problems:
        raise _refused(workflow, problems)
    return _bound(parameters, values)


def _by_name(parameters: Mapping[str, Parameter], given: Any) -> dict[str, Any] | None:
    named = isinstance(given, dict)
    only = next(iter(parameters)) if len(parameters) == 1 else None
    starred = only is not None and parameters[only].kind is Parameter.VAR_KEYWORD
    if only is not None and not starred and not (named and (only in given or not given)):
        return {only: given}
    return given if named else None


def _validated(name: str, annotation: Any, value: Any, problems: list[str]) -> Any:
    try:
        return _adapter(annotation).validate_json(to_json(value))
    except ValidationError as error:
        problems += [_problem(name, detail) for detail in error.errors(include_url=False)]
    except PydanticUserError as error:
        problems.append(f"{name}: {str(error).splitlines()[0]}")
    return None


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticUserError:  # a class that pydantic does not know, or one with a configuration of its own
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def _problem(name: str, detail: ErrorDetails) -> str:
    path = name
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    found = detail["input"]
    shown = "" if detail["type"] == "missing" else f" (found {_brief(found)})"
    return f"{path}: {detail['msg']}{shown}"


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _unexpected(name: str, parameters: Mapping[str, Parameter]) -> str:
    close = nearest(name, parameters)
    known = f"did you mean {close!r}?" if close else f"the arguments are {', '.join(parameters) or 'none'}"
    return f"{name}: Unexpected argument; {known}"


_STARRED = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _missing(parameter: Parameter, given: Mapping[str, Any]) -> bool:
    required = parameter.default is Parameter.empty and parameter.kind not in _STARRED
    return required and parameter.name not in given


def _bound(parameters: Mapping[str, Parameter], values: dict[str, Any]) -> Arguments:
    kwargs = dict(values)
    several = next((each.name for each in parameters.values() if each.kind is Parameter.VAR_POSITIONAL), None)
    by_place = _BEFORE if several in values else (Parameter.POSITIONAL_ONLY,)
    args = [kwargs.pop(each.name, each.default) for each in parameters.values() if each.kind in by_place]
    if several in values:
        args.extend(kwargs.pop(several))
    return Arguments(tuple(args), kwargs)


_BEFORE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _refused(workflow: AnyWorkflow, problems: list[str]) -> InvalidInput:
    listed = "".join(f"\n  {problem}" for problem in problems)
    signature = ", ".join(f"{name}: {annotation}" for name, annotation in workflow.graph.parameters)
    return InvalidInput(
        f"the input does not fit {workflow.name}({signature}):{listed}",
        hint="--input takes a JSON object of the arguments by name",
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
