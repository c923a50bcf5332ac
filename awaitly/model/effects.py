"""What a step does to the world."""

from enum import StrEnum


class Effect(StrEnum):
    """What a step does to the world, and so what a crash in the middle of it means."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ONCE = "once"
    TRANSACTION = "transaction"

    @property
    def guarded(self) -> bool:
        """Whether everything delivered before must be stored first."""
        return self not in (Effect.NONE, Effect.READ)
