"""pyrate-limiter, by its decorator: its token bucket, as its default keeps an entry for every call."""

from typing import Any

from pyrate_limiter import BucketAsyncWrapper, Duration, Limiter, Rate, StateBucket, TokenBucket  # type: ignore[import-not-found,import-untyped,unused-ignore]

from guards import RATE, RATE_LIMITER, Work, Wrap


def limited(work: Work) -> Work:
    bucket = StateBucket([Rate(RATE, Duration.SECOND)], algorithm=TokenBucket())
    limiter: Any = Limiter(BucketAsyncWrapper(bucket))  # its decorator is not typed
    wrapped: Work = limiter.as_decorator(name="alone")(work)
    return wrapped


GUARDS: dict[str, Wrap] = {RATE_LIMITER: limited}
