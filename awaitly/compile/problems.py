"""What is wrong with a declaration, before it becomes a diagnostic of every workflow that uses it."""

from dataclasses import dataclass

from awaitly.model.graph import Diagnostic, Position, Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a declaration cannot be bound."""

    code: str
    position: Position
    message: str
    hint: str
    when_stored: bool = False  # it matters to durable runs only

    def diagnostic(self) -> Diagnostic:
        """Return the problem as what a compilation reports; nothing that is unbound can run."""
        return Diagnostic(
            code=self.code, severity=Severity.ERROR, message=self.message, hint=self.hint, position=self.position
        )
