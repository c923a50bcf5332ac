"""Who takes the events of an outbox: where they go, what is sent along, and what an answer means."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from awaitly.model.clock import Clock
from awaitly.model.durations import Duration, seconds
from awaitly.policies.options import check_duration, refuse
from awaitly.policies.timeout import Expired, within
from awaitly.webhooks.events import Event
from awaitly.webhooks.posting import Answer, DeliveryFailed, Post
from awaitly.webhooks.signing import SIGNATURE, Secret, sign

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile("[ -~\\xa1-\\xff\t]*")  # what Latin-1 can say and a server has to accept
_PLAIN = re.compile("[!-~]+")  # neither blanks nor what would have to be encoded


class Receiver:
    """Somebody who takes events over HTTP.

    Args:
        url: Where to.
        secret: What signatures are made with.
        headers: What is sent along.
        client: Sends the requests.
        timeout: How long an answer may take.

    Attributes:
        name: the host and the path of the URL.

    Raises:
        ConfigurationError: ``invalid-option`` or ``invalid-duration``; the options are called those of an outbox.
    """

    def __init__(self, url: str, secret: Secret, headers: Mapping[str, str], client: Post, timeout: Duration) -> None:
        check_duration(timeout, "timeout of Outbox")
        self.name = _named(url)
        self._url = url
        self._secrets = _secrets(secret)
        self._headers = _sendable(headers)
        self._client = client
        self._timeout = seconds(timeout)

    async def take(self, event: Event, clock: Clock) -> None:
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
        status, answered = _read(await self._answer(event, headers, clock))
        if not 200 <= status < 300:
            raise DeliveryFailed(f"it answered {status}", status, _retry_after(answered))

    async def _answer(self, event: Event, headers: Mapping[str, str], clock: Clock) -> object:
        """Return what the client returns; whatever it raises, the event was not taken."""
        try:
            return await within(self._client(self._url, event.body, headers), self._timeout, clock)
        except Expired:
            raise DeliveryFailed(f"no answer within {self._timeout:g} s") from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise DeliveryFailed("CancelledError: client= was cancelled, by none of ours") from error
        except Exception as error:
            raise DeliveryFailed(f"{type(error).__name__}: {self._said(error)}") from error

    def _said(self, error: Exception) -> str:
        try:
            return str(error).replace(self._url, self.name)  # whose query may be a key
        except Exception:  # noqa: BLE001 - foreign code
            return "it has no text"


def _read(answer: object) -> tuple[int, Mapping[str, str]]:
    """Return the status and the headers of what a client, which is foreign code, returned."""
    found = f"an object of type {type(answer).__name__}"
    match getattr(answer, "status", None), getattr(answer, "headers", None):
        case int() as status, Mapping() as headers:
            return status, headers
        case status, headers if isinstance(answer, Answer):
            found = f"an Answer with a status of type {type(status).__name__}, headers of type {type(headers).__name__}"
    raise DeliveryFailed(
        f"client= returned {found}: it must return awaitly.webhooks.Answer(status, headers), an int and a mapping"
    )


def _retry_after(headers: Mapping[str, str]) -> str | None:
    return next((str(value) for name, value in headers.items() if str(name).lower() == "retry-after"), None)


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
