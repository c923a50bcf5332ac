"""One library for each policy, around one another."""

from guards import TOGETHER, Work, Wrap
from guards.aiobreaker import broken
from guards.aiolimiter import limited
from guards.standard import timed
from guards.tenacity import retried


def together(work: Work) -> Work:
    return retried(limited(broken(timed(work))))


GUARDS: dict[str, Wrap] = {TOGETHER: together}
