"""The command line.

It parses, calls the runtime and prints; nothing is decided here that a library user could not do too.
"""

from awaitly.cli.commands import main

__all__ = ["main"]
