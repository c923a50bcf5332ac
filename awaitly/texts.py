"""Text from outside, made fit to be written anywhere."""


def valid(text: str) -> str:
    r"""Return text that can be encoded: what stands for no character in it is escaped, as in ``caf\udce9``.

    Such text comes of file names and arguments that are no UTF-8 (``os.fsdecode``).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text
