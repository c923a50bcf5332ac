"""What is stored, read without the code that stored it: values as plain JSON, failures as what they say.

The codec leaves marks in its JSON where JSON has no such type; they are dropped here, and nothing is ever imported.
"""

import json
from dataclasses import dataclass, field
from typing import Any

_NAMED = "#"  # "#set" and its like: how a model is put together again


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


def value_of(payload: bytes) -> Any:
    """Return a stored value as plain JSON; what is not JSON comes back as text."""
    try:
        return _plain(json.loads(payload))
    except ValueError:
        return payload.decode(errors="replace")


def failure_of(payload: bytes) -> Told:
    """Return what a stored failure says."""
    match value_of(payload):
        case {"raised": dict(tree)}:
            return _told(tree)
        case {"value": value}:
            return Told(type="Err", message=brief(value), fields={"value": value})
        case other:
            return Told(type="unreadable", message=brief(other))


def brief(value: Any, width: int = 72) -> str:
    """Return plain JSON on one line of at most ``width`` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"


def _told(tree: dict[str, Any]) -> Told:
    state = tree.get("state") or {}
    unexpected = "type_name" in state
    message = state.get("message")
    if message is None:
        message = ", ".join(part if isinstance(part, str) else brief(part) for part in tree.get("args") or ())
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


def _plain(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_plain(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((tag, held),) = tree.items()
        if tag == "$dict" and isinstance(held, list):
            return {_key(_plain(key)): _plain(value) for key, value in held}
        if tag.startswith("$"):
            return _plain(held)
    return {key: _plain(held) for key, held in tree.items() if not key.startswith(_NAMED)}


def _key(value: Any) -> str:
    return value if isinstance(value, str) else brief(value)
