"""``python -m awaitly``, where the command itself is not on the path."""

from awaitly.cli.commands import main

if __name__ == "__main__":
    main()
