"""What the environment says in the standard variables of OpenTelemetry that the SDK does not read for us."""

import os


def variable(name: str) -> str:
    """Return what a variable says, in lower case and without space around it; nothing, if it is not set."""
    return os.environ.get(name, "").strip().lower()
