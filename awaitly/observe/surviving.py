"""What observers raise, kept away from the runs that they observe."""

import asyncio
from contextvars import Context

_FOR_THE_PROCESS = (KeyboardInterrupt, SystemExit)


def survive(error: BaseException) -> bool:
    """Go on after what an observer raised on the event loop; return whether it is a defect of the observer.

    What ends the process is none: a signal handler raises it in whatever code is executed just then. The loop raises it
    as soon as the run waits, where nothing of the run is cut in two. Where no loop is running any more, it is raised.
    """
    if not isinstance(error, _FOR_THE_PROCESS):
        return True
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise error from None
    loop.call_soon(_end, error, context=Context())
    return False


def _end(error: BaseException) -> None:
    raise error
