"""Every knob, in one place, and who has the last word about it.

What an operator may write is text: numbers, durations, words. Nothing here knows steps or graphs; whoever compiles a
workflow asks what is overridden.
"""

from awaitly.settings.knobs import Settings, provenance, read_settings

__all__ = ["Settings", "provenance", "read_settings"]
