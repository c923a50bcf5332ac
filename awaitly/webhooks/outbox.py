"""Where facts are delivered to: what is said about it, and its delivery while a runtime is open."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from awaitly.errors import ConfigurationError
from awaitly.model.clock import Clock
from awaitly.model.durations import Duration, seconds
from awaitly.model.facts import Fact
from awaitly.model.names import nearest
from awaitly.policies.options import check_count, check_duration, refuse
from awaitly.policies.retry import Retry
from awaitly.policies.timeout import Expired, within
from awaitly.runtime import Runtime
from awaitly.webhooks.delivering import Counts, Delivering, Plan
from awaitly.webhooks.events import STORED, Event
from awaitly.webhooks.posting import DeliveryFailed, Post, post
from awaitly.webhooks.signing import SIGNATURE, Secret, sign

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile("[ -~\\xa1-\\xff\t]*")  # what Latin-1 can say and a server has to accept
_PLAIN = re.compile("[!-~]+")  # neither blanks nor what would have to be encoded

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
        name: Under which its position is kept; by default the host and the path of the URL. Keep it when the URL
            changes.
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
        check_count(at_once, "at_once of Outbox")
        check_duration(timeout, "timeout of Outbox")
        check_duration(every, "every of Outbox")
        named = _named(url)
        self.counts = Counts()
        self._plan = Plan(
            name=name or named, kinds=tuple(map(_kind, facts)), payloads=payloads, retry=retry,
            delays=DELAYS if retry is None else retry.delays, every=seconds(every), at_once=at_once, send=self._send,
        )  # fmt: skip
        self._url = url
        self._timeout = seconds(timeout)
        self._secrets = _secrets(secret)
        self._headers = _sendable(headers or {})
        self._client = client

    @asynccontextmanager
    async def following(self, runtime: Runtime, *, timeout: Duration = "5s") -> AsyncIterator["Outbox"]:
        """Deliver while the block runs; at its end what is stored by then is delivered within ``timeout``.

        If the runtime is shut down before that, as by a signal, it is done when the runs have ended, in what is left
        of the time for that.

        What is left is delivered when somebody follows the same store the next time.
        """
        allowed = seconds(timeout, what="timeout= of following()")
        delivering = Delivering(self._plan, self.counts, runtime.store, runtime.owner, runtime.clock)
        await delivering.begin()

        async def finish(left: float) -> None:
            delivering.end()
            try:
                await within(asyncio.wait([task]), min(left, allowed), runtime.clock)
            except Expired:
                task.cancel()
                await asyncio.wait([task])

        with runtime.before_closing(finish):
            task = asyncio.create_task(delivering.follow(), name=f"awaitly-outbox {self._plan.name}")
            try:
                yield self
            finally:
                await finish(allowed)

    async def _send(self, event: Event, clock: Clock) -> None:
        """Send one event.

        Raises:
            DeliveryFailed: If the receiver did not take it.
        """
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _agent(),
            "Awaitly-Event": event.id,
            SIGNATURE: sign(event.body, self._secrets, at=clock.time()),
            **self._headers,
        }
        try:
            answer = await within(self._client(self._url, event.body, headers), self._timeout, clock)
        except Expired:
            raise DeliveryFailed(f"no answer within {self._timeout:g} s") from None
        except Exception as error:  # whatever a client raises, the event was not taken
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from error
        if not 200 <= answer.status < 300:
            raise DeliveryFailed(f"it answered {answer.status}", answer.status, _retry_after(answer.headers))


def _retry_after(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def _named(url: str) -> str:
    host, fits = url.rpartition("@")[2], False  # what is before may be a password
    with suppress(ValueError):  # brackets that do not close, a port that is none
        parts = urlsplit(url)
        host = parts.hostname or host
        port = f":{parts.port}" if parts.port else ""
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    if not fits or not _PLAIN.fullmatch(url):
        raise refuse("url of Outbox", host, "give one such as https://example.com/hooks; keys belong in headers=")
    return f"{host}{port}{parts.path}"


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):  # which may be a key: the message lacks it
            raise refuse("headers of Outbox", name, "a name has letters, digits and dashes, a value no line breaks")
    return dict(headers)


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


def _secrets(secret: Secret) -> tuple[str, ...]:
    secrets = (secret,) if isinstance(secret, str) else tuple(secret)
    if not secrets or not all(secrets):
        raise refuse("secret of Outbox", "", "give a long random text that the receiver knows too")
    return secrets


def _agent() -> str:
    try:
        return f"awaitly/{version('awaitly')}"
    except PackageNotFoundError:  # run from its source
        return "awaitly"
