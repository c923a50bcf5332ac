"""Stored failures, read without the code that stored them."""

import json
from dataclasses import dataclass, field
from typing import Any

from awaitly.model.plain import brief, value_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A failure as its payload tells it."""

    type: str  # module:qualname; of an unexpected error, the original's
    message: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    step: str | None = None
    code: str | None = None
    hint: str = ""
    traceback: str | None = None
    unexpected: bool = False

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.type.rpartition(":")[2].rpartition(".")[2]

    def __str__(self) -> str:
        text = self.message or ", ".join(f"{name}={brief(value)}" for name, value in self.fields.items())
        return f"{self.name}: {text}" if text else self.name


def failure_of(payload: bytes) -> Told:
    """Return what a stored failure says."""
    match value_of(payload):
        case {"raised": dict(tree)}:
            return _told(tree, _own_words(payload, tree))
        case {"value": value}:
            return Told(type="Err", message=brief(value), fields={"value": value})
        case other:
            return Told(type="unreadable", message=brief(other))


def _own_words(payload: bytes, tree: dict[str, Any]) -> list[Any]:
    """Return the arguments of an exception that are not its fields, which are told by themselves."""
    stored = json.loads(payload)["raised"].get("args") or ()
    plain = tree.get("args") or ()
    return [
        word
        for word, as_stored in zip(plain, stored, strict=True)
        if not (isinstance(as_stored, dict) and "$field" in as_stored)
    ]


def _told(tree: dict[str, Any], words: list[Any]) -> Told:
    state = tree.get("state") or {}
    unexpected = "type_name" in state
    message = state.get("message")
    if message is None:
        message = ", ".join(part if isinstance(part, str) else brief(part) for part in words)
    return Told(
        type=str(state["type_name"] if unexpected else tree.get("class") or tree.get("unknown") or "Exception"),
        message=str(message),
        fields=dict(tree.get("fields") or {}),
        step=state.get("step"),
        code="unexpected-error" if unexpected else state.get("code"),
        hint=str(state.get("hint") or ""),
        traceback=state.get("traceback"),
        unexpected=unexpected,
    )
