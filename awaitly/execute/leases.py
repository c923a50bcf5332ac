"""This process's lease: registered, renewed by a heartbeat, and asked before anything begins."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context

from awaitly.errors import AwaitlyError
from awaitly.model.clock import Clock, Timer
from awaitly.model.durations import humanised
from awaitly.persist.ports import Leases, Owner
from awaitly.policies.clock import pause

_log = logging.getLogger("awaitly")


class Lease:
    """Ownership in time. Valid by this process's own monotonic clock, whatever the store says."""

    def __init__(self, leases: Leases, owner: Owner, ttl: float, clock: Clock, context: Context) -> None:
        self.owner = owner
        self.ttl = ttl
        self.fences: Callable[[], Mapping[str, int]] = dict
        self.on_lost: Callable[[Sequence[str]], object] = len
        self.on_lapse: Callable[[], object] | None = None
        self._leases = leases
        self._clock = clock
        self._context = context
        self._until = float("-inf")
        self._timer: Timer | None = None
        self._renewal: asyncio.Task[None] | None = None

    @property
    def valid(self) -> bool:
        """Whether the lease holds now."""
        return self._clock.monotonic() < self._until

    async def open(self) -> None:
        """Register the owner and begin the heartbeat: a renewal every third of the ttl."""
        begun = self._clock.monotonic()
        await self._leases.register(self.owner, self.ttl)
        self._until = begun + self.ttl
        self._beat_later()

    async def close(self, seconds: float, *, frees: bool = True) -> None:
        """End the heartbeat and forget the owner, so that its runs can be claimed at once.

        If the store cannot be asked, the lease lapses by itself.

        Args:
            seconds: What the store may take for it.
            frees: Whether the runs may be claimed at once: not while the store may still take what they appended.
        """
        if self._timer is None:
            return  # it was never opened
        self._timer.cancel()
        try:
            if not frees:
                raise TimeoutError
            async with asyncio.timeout(seconds):
                await self._retire()
        except Exception as error:  # noqa: BLE001 - whatever the store raises: it is closed all the same
            reason = "the store does not answer" if isinstance(error, TimeoutError) else error
            ttl = humanised(self.ttl)
            _log.warning("what runs here can be taken over only when the lease has lapsed, in %s: %s", ttl, reason)
        if self._renewal is not None:
            self._renewal.cancel()
        self._until = float("-inf")

    async def _retire(self) -> None:
        if self._renewal is not None:
            await asyncio.wait([self._renewal])  # it might register the owner once more
        self._until = float("-inf")
        await self._leases.retire(self.owner.id)

    async def held(self) -> None:
        """Return once the lease is valid: at once, or after the renewal that found out which runs were lost."""
        while not self.valid:
            await asyncio.shield(self._renew_now())

    def _beat_later(self) -> None:
        self._timer = self._context.copy().run(self._clock.call_later, self.ttl / 3, self._beat)

    def _beat(self) -> None:
        self._renew_now()
        self._beat_later()

    def _renew_now(self) -> asyncio.Task[None]:
        if self._renewal is None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.create_task(self._renew(), context=self._context)
        return self._renewal

    async def _renew(self) -> None:
        try:
            lapsed = not self.valid
            begun = self._clock.monotonic()
            if not await self._leases.renew(self.owner.id):  # forgotten: taken for dead, or the store was replaced
                await self._leases.register(self.owner, self.ttl)
                lapsed = True
            if lapsed:
                if self.on_lapse is not None:
                    self.on_lapse()
                # While it had lapsed others could claim. From the renewal on they cannot, so one look is enough.
                fences = dict(self.fences())
                if fences:
                    self.on_lost(await self._leases.lost(fences))
            self._until = begun + self.ttl
        except AwaitlyError:
            await pause(
                self._clock, min(1.0, self.ttl / 10)
            )  # the store is away: the lease lapses by itself, and effects wait
        finally:
            self._renewal = None
