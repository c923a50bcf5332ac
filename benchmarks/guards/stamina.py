"""stamina, by its decorator."""

from stamina import retry  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import ATTEMPTS, INITIAL, LONGEST, RETRY, Work, Wrap


def retried(work: Work) -> Work:
    return retry(on=Exception, attempts=ATTEMPTS, timeout=None, wait_initial=INITIAL, wait_max=LONGEST)(work)


GUARDS: dict[str, Wrap] = {RETRY: retried}
