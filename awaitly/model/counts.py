"""Numbers of things, as messages say them."""


def counted(number: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs`` and so on."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
