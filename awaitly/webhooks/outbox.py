"""Where facts are delivered to: what is said about it, and its delivery while a runtime is open."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from awaitly.errors import ConfigurationError
from awaitly.model.durations import Duration, humanised, seconds
from awaitly.model.facts import Fact
from awaitly.model.names import nearest
from awaitly.policies.options import check_count, check_duration, check_name
from awaitly.policies.retry import Retry
from awaitly.policies.timeout import Expired, within
from awaitly.runtime import Runtime
from awaitly.webhooks.delivering import Delivering
from awaitly.webhooks.events import STORED
from awaitly.webhooks.plan import Counts, Plan
from awaitly.webhooks.posting import DeliveryFailed, Post, post
from awaitly.webhooks.receiver import Receiver
from awaitly.webhooks.signing import Secret

DELAYS = Retry(1, initial="1s", max="5m", jitter="equal").delays


class Outbox:
    """Delivers facts of runs to a URL, as signed JSON, at least once.

    ```python
    outbox = Outbox("https://example.com/hooks", secret=os.environ["HOOK_SECRET"])

    async with Runtime() as rt, outbox.following(rt):
        ...
    ```

    What is delivered is read from the store, so it is committed. How far it came is stored too: after a restart it goes
    on there, and of several processes one delivers. A new outbox begins with what is stored from then on.

    Args:
        url: Where to: ``http`` or ``https``.
        secret: What signatures are made with; several while receivers learn a new one.
        facts: The names of the facts that are delivered, as in :mod:`awaitly.model.facts`.
        name: Under which its position is kept, and which logs, metrics and health show; by default the host and the
            path of the URL. Keep it when the URL changes.
        payloads: Whether arguments, results and errors are in the events too.
        headers: What is sent along, such as a key.
        client: Sends the requests: default: a connection for each, without a proxy.
        retry: When an event is given up, and how long to wait between attempts. By default it is never given up, and
            the delays grow from 1 s to 5 min; those that a receiver asks for are kept.
        timeout: How long an answer may take.
        every: How often the store is looked at.
        at_once: How many runs are delivered for at once; the events of each are sent one after another.

    Attributes:
        counts: how many events were delivered and given up through this object, and how many attempts failed.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: Secret,
        facts: Collection[str] = ("RunFinished",),
        name: str | None = None,
        payloads: bool = False,
        headers: Mapping[str, str] | None = None,
        client: Post = post,
        retry: Retry | None = None,
        timeout: Duration = "10s",
        every: Duration = "500ms",
        at_once: int = 8,
    ) -> None:
        check_name(name or None, "name of Outbox")
        check_count(at_once, "at_once of Outbox")
        check_duration(every, "every of Outbox")
        receiver = Receiver(url, secret, headers or {}, client, timeout)
        self.counts = Counts()
        self._delivering: list[Delivering] = []
        self._plan = Plan(
            name=name or receiver.name, kinds=tuple(map(_kind, facts)), payloads=payloads, retry=retry,
            delays=DELAYS if retry is None else retry.delays, every=seconds(every), at_once=at_once, send=receiver.take,
        )  # fmt: skip

    @asynccontextmanager
    async def following(self, runtime: Runtime, *, timeout: Duration = "5s") -> AsyncIterator["Outbox"]:
        """Deliver while the block runs; at its end what is stored by then is delivered within ``timeout``.

        If the runtime is shut down before that, as by a signal, it is done when the runs have ended, in what is left
        of the time for that.

        What is left is delivered when somebody follows the same store the next time.

        Raises:
            RunStopped: If the runtime is not open.
            StoreError: If the store cannot be asked.
            UsageError: ``outbox-followed``, if another outbox of this name follows it.
        """
        allowed = seconds(timeout, what="timeout= of following()")
        delivering = Delivering(self._plan, self.counts, runtime.store, runtime.owner, runtime.clock)

        async def finish(left: float) -> None:
            delivering.end()
            try:
                await within(asyncio.wait([task]), min(left, allowed), runtime.clock)
            except Expired:
                task.cancel()
                await asyncio.wait([task])

        with runtime.vitals.delivering(self._plan.name, delivering.standing):
            await delivering.begin()
            with runtime.before_closing(finish):
                task = asyncio.create_task(delivering.follow(), name=f"awaitly-outbox {self._plan.name}")
                self._delivering.append(delivering)
                try:
                    yield self
                finally:
                    self._delivering.remove(delivering)
                    await finish(allowed)

    async def check(self, patience: Duration = "1m") -> None:
        """Raise if nothing could be delivered for longer than ``patience``: a check for :func:`awaitly.serve.app`.

        It is about what this process has tried. One event that is refused while others are taken is no failure.

        Raises:
            DeliveryFailed: If so.
        """
        allowed = seconds(patience, what="patience= of check()")
        for delivering in self._delivering:
            standing = delivering.standing()
            if standing.failing_for is not None and standing.failing_for > allowed:
                raise DeliveryFailed(
                    f"nothing could be delivered for {humanised(standing.failing_for)}: {standing.last_error}"
                )


def _kind(name: str) -> type[Fact]:
    kind = STORED.get(name)
    if kind is None:
        meant = nearest(name, STORED)
        raise ConfigurationError(
            f"Outbox is to deliver {name!r}, which is no fact that is stored",
            hint=f"did you mean {meant!r}?" if meant else f"choose from {', '.join(STORED)}",
            code="invalid-option",
        )
    return kind
