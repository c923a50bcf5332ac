"""Which call site is calling: from a frame to the structural label that the compiler gave the place."""

from types import CodeType, FrameType

from awaitly.errors import UsageError
from awaitly.model.program import Program, Site, Sites


class SiteIndex:
    """The call sites of a program, by code object and instruction.

    A call from code that the compiler did not read (a library's callback) belongs to the nearest caller that it did
    read, told apart by what is called.
    """

    __slots__ = ("_code", "_labels")

    def __init__(self, program: Program) -> None:
        self._code = program.code
        self._labels: dict[tuple[int, int], str] = {}

    def label(self, frame: FrameType, what: str, *, within: str) -> str:
        """Return the label of the call that ``frame`` is making.

        Args:
            frame: The caller's frame.
            what: The name of what is called, for calls from code that the compiler did not read.
            within: The caller's branch: in a child task that runs none of the compiled code, it is the place.

        Raises:
            UsageError: ``unknown-call-site``, if no caller was compiled or the place cannot be told.
        """
        label = self._labels.get((id(frame.f_code), frame.f_lasti))
        return label if label is not None else self._find(frame, what, within)

    def _find(self, frame: FrameType, what: str, within: str) -> str:
        caller: FrameType | None = frame
        while caller is not None:
            code = caller.f_code
            held = self._code.get(id(code))
            if held is not None and held[0] is code:
                site = _site(held[1], code, caller.f_lasti)
                if site is None:
                    break
                if caller is not frame:
                    return f"{site.label}>{what}"
                # Only compiled code may be remembered by its id: other code can be freed and its id reused.
                self._labels[id(code), caller.f_lasti] = site.label
                return site.label
            caller = caller.f_back
        if caller is None and within:
            return f">{what}"
        raise UsageError(
            f"{what} was called from {frame.f_code.co_qualname}"
            f" ({frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}), which the compiler did not read",
            hint="give the step a key=, or call it from the workflow's function or a helper of the same package",
            code="unknown-call-site",
        )


def _site(sites: Sites, code: CodeType, instruction: int) -> Site | None:
    """Return the site of an instruction by its exact position or, without positions, by its line."""
    for at, (line, end_line, column, end_column) in enumerate(code.co_positions()):
        if at == instruction // 2:
            if line is not None and end_line is not None and column is not None and end_column is not None:
                exact = sites.by_span.get((line, column, end_line, end_column))
                return exact or sites.by_end.get((end_line, end_column))
            there = sites.by_line.get(line or 0, ())
            return there[0] if len(there) == 1 else None
    return None
