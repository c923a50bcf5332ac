"""tenacity, by its decorator."""

from tenacity import retry, stop_after_attempt, wait_random_exponential  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import ATTEMPTS, INITIAL, LONGEST, RETRY, Work, Wrap


def retried(work: Work) -> Work:
    wait = wait_random_exponential(multiplier=INITIAL, max=LONGEST)
    return retry(stop=stop_after_attempt(ATTEMPTS), wait=wait)(work)


GUARDS: dict[str, Wrap] = {RETRY: retried}
