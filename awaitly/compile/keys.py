"""Key templates such as ``"charge:{order.id}"``: read, checked against a signature, turned into a fast function.

A key must name one piece of work, so rendering is injective: where a field is followed by another one, the first
character of the text between them is percent-encoded in its value (and so is ``%``). ``"{shop}:{order}"`` renders
``("a:b", "c")`` as ``a%3Ab:c`` and ``("a", "b:c")`` as ``a:b:c``. A key with a single field is never encoded.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from operator import attrgetter
from string import Formatter
from typing import Any, TypeAlias
from urllib.parse import quote

from awaitly.compile.members import Access, Missing, Unfit, fitting, member
from awaitly.errors import UsageError
from awaitly.model.names import by_nearness, nearest

KeyFunction: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], str]

_SHOWN = 20  # names that a hint lists
_NAME = re.compile(r"[^\W\d]\w*")
_ACCESS = re.compile(r"\.(?P<attribute>[^\W\d]\w*)|\[(?P<index>[^\[\]]+)\]")
_CONVERSIONS: Mapping[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Why a template cannot be used, and what to write instead."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class KeyField:
    """A replacement field: a parameter, what is read from it, and how it becomes text."""

    text: str
    parameter: str
    path: tuple[Access, ...]
    conversion: str | None
    spec: str


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A template as read: literal text and fields in turn."""

    text: str
    pieces: tuple[str | KeyField, ...]

    @property
    def fields(self) -> tuple[KeyField, ...]:
        """The replacement fields, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, KeyField))

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters that the key depends on."""
        return frozenset(field.parameter for field in self.fields)


def read_key(text: str) -> KeyTemplate | KeyProblem:
    """Read a template; whether it fits a function is another question."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        return KeyProblem(
            f"the key {text!r} is not a template: {error}",
            'write fields in braces, as in "charge:{order.id}", and braces of the text itself twice',
        )
    pieces: list[str | KeyField] = []
    for literal, name, spec, conversion in parsed:
        if literal:
            pieces.append(literal)
        if name is not None:
            field = _field(text, name, spec or "", conversion or None)
            if isinstance(field, KeyProblem):
                return field
            pieces.append(field)
    return _separated(KeyTemplate(text, tuple(_joined(pieces))))


def _joined(pieces: list[str | KeyField]) -> Iterator[str | KeyField]:
    """Yield the pieces with neighbouring texts (around ``{{``) made one."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        yield piece
    if text:
        yield text


def _field(text: str, name: str, spec: str, conversion: str | None) -> KeyField | KeyProblem:
    head = _NAME.match(name)
    if head is None:
        return KeyProblem(
            f"the key {text!r} has a field {{{name}}} that names no parameter",
            'name the parameter that it stands for, as in "charge:{order.id}"',
        )
    path: list[Access] = []
    rest = name[head.end() :]
    while rest:
        access = _ACCESS.match(rest)
        if access is None:
            return KeyProblem(
                f"the key {text!r} has a field {{{name}}} with {rest!r} in it",
                "a key reads parameters, attributes and literal indexes only; "
                "compute anything else in the workflow and pass it as an argument",
            )
        path.append(_access(access))
        rest = rest[access.end() :]
    if hidden := next((a for a in path if a.attribute and str(a.name).startswith("_")), None):
        return KeyProblem(f"the key {text!r} reads {hidden.name!r}, which is private", "read a public attribute")
    if "{" in spec:
        return KeyProblem(f"the key {text!r} has a field inside a format", "write the format out, as in {count:03d}")
    if conversion is not None and conversion not in _CONVERSIONS:
        return KeyProblem(f"the key {text!r} has an unknown conversion !{conversion}", "use !r, !s or !a, or none")
    return KeyField(name, head[0], tuple(path), conversion, spec)


def _access(found: re.Match[str]) -> Access:
    if found["attribute"]:
        return Access(found["attribute"], attribute=True)
    index = found["index"]
    return Access(int(index) if index.isdecimal() else index, attribute=False)


def _separated(template: KeyTemplate) -> KeyTemplate | KeyProblem:
    """Refuse what no encoding could take apart again."""
    pieces = template.pieces
    for index, field in enumerate(pieces[:-1]):
        if not isinstance(field, KeyField) or not any(isinstance(later, KeyField) for later in pieces[index + 1 :]):
            continue
        between = pieces[index + 1]
        if isinstance(between, KeyField) or between[0] in "%0123456789":
            return KeyProblem(
                f"the key {template.text!r} can be the same for different arguments: nothing marks the end of "
                f"{{{field.text}}}",
                f'put a character such as ":" behind it, as in "{{{field.text}}}:"',
            )
    return template


def check_key(template: KeyTemplate, signature: Signature, hints: Mapping[str, Any]) -> KeyProblem | None:
    """Return what is wrong with ``template`` for a function of this signature, as far as its annotations tell."""
    for field in template.fields:
        if problem := _checked_parameter(template, field, signature) or _checked_path(template, field, hints):
            return problem
    return None


def _checked_parameter(template: KeyTemplate, field: KeyField, signature: Signature) -> KeyProblem | None:
    parameter = signature.parameters.get(field.parameter)
    if parameter is None:
        return KeyProblem(
            f"the key {template.text!r} names {field.parameter!r}, which is no parameter",
            _choices(field.parameter, signature.parameters, "the parameters are") or "it has no parameters",
        )
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        return KeyProblem(
            f"the key {template.text!r} names {parameter}, which collects arguments",
            "give what the key needs a parameter of its own",
        )
    return None


def _checked_path(template: KeyTemplate, field: KeyField, hints: Mapping[str, Any]) -> KeyProblem | None:
    annotation = hints.get(field.parameter, Any)
    read = field.parameter
    for access in field.path:
        found = member(annotation, access)
        if isinstance(found, Missing):
            known = _choices(str(access.name), found.known, f"{found.owner} has")
            return KeyProblem(
                f"the key {template.text!r} reads {access} of {read}, but {found.owner} has no such thing",
                found.hint or known or "read something that it has",
            )
        annotation = found
        read += str(access)
    unfit = fitting(annotation, str if field.conversion else None, field.spec)
    return _unfit(template, field, unfit) if unfit else None


def _choices(name: str, known: Collection[str], have: str) -> str:
    """Return what can be named instead, the nearest first; empty if there is nothing."""
    if not known:
        return ""
    close = nearest(name, known)
    ordered = by_nearness(name, known)
    if close and len(ordered) == 1:
        return f"did you mean {close!r}?"
    every = f"{have} {', '.join(ordered[:_SHOWN])}" + (", ..." if len(ordered) > _SHOWN else "")
    return f"did you mean {close!r}? {every}" if close else every


def _unfit(template: KeyTemplate, field: KeyField, unfit: Unfit) -> KeyProblem:
    return KeyProblem(f"the key {template.text!r} cannot use {{{field.text}}}: {unfit.reason}", unfit.hint)


def key_function(template: KeyTemplate, signature: Signature, owner: str) -> KeyFunction:
    """Return the function that renders the key of a call from its arguments, without binding them.

    The function raises ``TypeError`` where an argument is missing, and ``UsageError`` with the code ``invalid-key``
    where a part is None or cannot be read, or the whole is blank or not printable.
    """
    parts = tuple(_part(template, index, signature, owner) for index in range(len(template.pieces)))

    def rendered(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        key = "".join([part if isinstance(part, str) else part(args, kwargs) for part in parts])
        if not key or key.isspace():
            raise _invalid(template, owner, "is blank")
        if not key.isprintable():
            raise _invalid(template, owner, f"is {key!r}: it holds characters that are not printable")
        return key

    return rendered


def _part(template: KeyTemplate, index: int, signature: Signature, owner: str) -> str | KeyFunction:
    piece = template.pieces[index]
    if isinstance(piece, str):
        return piece
    following = template.pieces[index + 1 : index + 3]
    stop = following[0][0] if len(following) == 2 and isinstance(following[0], str) else None
    position, otherwise = _argument(piece.parameter, signature, owner)
    read = _reader(piece.path)
    write = _writer(piece)
    as_is = piece.conversion is None and not piece.spec

    def part(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        argument = args[position] if position < len(args) else otherwise(kwargs)
        try:
            value = read(argument)
            text: str = value if as_is and type(value) is str else write(value)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise _invalid(template, owner, f"cannot be made: {{{piece.text}}} raised {error!r}") from error
        if value is None:
            raise _invalid(template, owner, f"cannot be made: {{{piece.text}}} is None")
        if stop is not None and (stop in text or "%" in text):
            return text.replace("%", "%25").replace(stop, _encoded(stop))
        return text

    return part


def _encoded(character: str) -> str:
    quoted = quote(character, safe="")
    return quoted if quoted != character else f"%{ord(character):02X}"


def _argument(name: str, signature: Signature, owner: str) -> tuple[int, Callable[[dict[str, Any]], Any]]:
    """Return the position of a parameter, and what finds its value where the call gives none at that position."""
    parameter = signature.parameters[name]
    default = parameter.default
    by_position = parameter.kind is not Parameter.KEYWORD_ONLY
    position = list(signature.parameters).index(name) if by_position else sys.maxsize

    def otherwise(kwargs: dict[str, Any]) -> Any:
        value = kwargs.get(name, default)
        if value is Parameter.empty:
            raise TypeError(f"{owner.partition(' ')[2] or owner}() missing 1 required argument: {name!r}")
        return value

    return position, otherwise


def _reader(path: tuple[Access, ...]) -> Callable[[Any], Any]:
    if not path:
        return _itself
    if all(access.attribute for access in path):
        return attrgetter(".".join(str(access.name) for access in path))

    def read(value: Any) -> Any:
        for access in path:
            value = getattr(value, str(access.name)) if access.attribute else value[access.name]
        return value

    return read


def _itself(value: Any) -> Any:
    return value


def _writer(field: KeyField) -> Callable[[Any], str]:
    convert = _CONVERSIONS.get(field.conversion or "")
    spec = field.spec
    if convert is None:
        return lambda value: format(value, spec)
    return (lambda value: format(convert(value), spec)) if spec else convert


def _invalid(template: KeyTemplate, owner: str, what: str) -> UsageError:
    return UsageError(
        f"the key {template.text!r} of {owner} {what}",
        hint="give arguments that name the piece of work, or another key=",
        code="invalid-key",
    )
