"""``python -m awaitly.cli``, where the command itself is not on the path."""

from awaitly.cli.commands import main

main()
