"""Runs that were not started here: observers are told of each, the log of the first, and of further ones together."""

import logging
from collections import Counter, defaultdict

from awaitly.errors import AwaitlyError
from awaitly.execute.services import Services
from awaitly.model.clock import Timer
from awaitly.model.durations import humanised
from awaitly.model.facts import RunRejected

TOLD_WITHIN = 10.0  # seconds between two lines: an overload refuses thousands in a second
NAMED = 5  # workflows in a line

_log = logging.getLogger("awaitly")


class Refusals:
    """Tells what was refused."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._untold: defaultdict[str, Counter[str]] = defaultdict(Counter)  # workflows, by code
        self._timer: Timer | None = None

    def note(self, workflow: str, error: AwaitlyError) -> None:
        """Tell of a run that was refused with an error."""
        self._services.notice(RunRejected, workflow=workflow, reason=error.code)
        if self._timer is None:
            about = {"workflow": workflow, "code": error.code}
            _log.warning("a run of %s was not started: %s", workflow, error.message, extra=about)
            self._wait()
        else:
            self._untold[error.code][workflow] += 1

    def close(self) -> None:
        """Tell of what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for code, workflows in self._untold.items():
            count = workflows.total()
            names = ", ".join(f"{number} of {workflow}" for workflow, number in workflows.most_common(NAMED))
            more = ", ..." if len(workflows) > NAMED else ""
            about = {"code": code, "count": count}
            within = humanised(TOLD_WITHIN)
            _log.warning(
                "%d more runs were not started within %s [%s]: %s%s", count, within, code, names, more, extra=about
            )
        self._untold.clear()

    def _wait(self) -> None:
        self._timer = self._services.call_later(TOLD_WITHIN, self._tell)

    def _tell(self) -> None:
        some = bool(self._untold)
        self.close()
        if some:
            self._wait()
