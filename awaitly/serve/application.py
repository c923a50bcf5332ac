"""The ASGI application around a runtime: its endpoints, and who may see what.

It holds no state but checks that are under way; mounted anywhere, it needs no lifespan of its own.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

from awaitly.errors import NotSupported

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise NotSupported(
        f"health over HTTP needs the package {error.name}, which is not installed", hint="install awaitly[serve]"
    ) from error

from awaitly.execute.loops import on
from awaitly.execute.standing import circuits, limiters
from awaitly.execute.vitals import Phase
from awaitly.model.durations import Duration, seconds
from awaitly.observe.health import Health
from awaitly.runtime import Runtime
from awaitly.serve import documents
from awaitly.serve.access import Access
from awaitly.serve.checks import Check, Checks
from awaitly.serve.documents import Document
from awaitly.serve.index import index

T = TypeVar("T")

_FRESH = {"Cache-Control": "no-store"}
_NO_CHARACTER = re.compile("[\ud800-\udfff]")


def app(
    runtime: Runtime,
    checks: Mapping[str, Check] | None = None,
    *,
    token: str | None = None,
    check_timeout: Duration = "2s",
) -> Starlette:
    """Return an ASGI application that tells how a runtime is. Mount it, or serve it by itself.

    Args:
        runtime: Better not open yet: then it is watched for ``/health/workflows``.
        checks: Of what the program depends on, by name. One raises, or returns ``False`` or an ``Err``, if something
            is wrong. Coroutine functions run on the event loop, plain functions in a thread.
        token: What callers send as ``Authorization: Bearer`` to see details; default: the setting ``serve.token``.
        check_timeout: How long a check may take; a duration.

    Raises:
        ConfigurationError: For a token or a timeout that cannot be one.
    """
    timeout = seconds(check_timeout, what="check_timeout= of app()")
    access = Access(token if token is not None else runtime.settings.serve.token)
    health = _watched(runtime)
    runtime.vitals.measure()
    site = Site(runtime, Checks(checks or {}, timeout, runtime.clock), access, health)
    return Starlette(
        routes=[Route(page.path, site.answering(page)) for page in PAGES],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def _watched(runtime: Runtime) -> Health | None:
    """Return what watches the ends of runs, which can only be added to a runtime that is not open."""
    known = next((watcher for watcher in runtime.watchers if isinstance(watcher, Health)), None)
    if known is None and runtime.state().phase is Phase.CLOSED:
        known = Health()
        runtime.watch(known)
    return known


class Site:
    """Answers requests about a runtime."""

    def __init__(self, runtime: Runtime, checks: Checks, access: Access, health: Health | None) -> None:
        self._runtime = runtime
        self._checks = checks
        self._access = access
        self._health = health

    def answering(self, page: "Page") -> Callable[[Request], Awaitable[Response]]:
        """Return what answers requests for a page, from those who may see it."""

        async def answer(request: Request) -> Response:
            detailed = self._access.granted(request.headers.get("authorization"))
            if not (detailed or page.open):
                refusal = documents.problem("unauthorized", "this is shown to those who send the token")
                return _json(refusal, 401, {"WWW-Authenticate": "Bearer"})
            return await page.answer(self, request, detailed)

        return answer

    async def index(self, request: Request, detailed: bool) -> Response:
        """List all pages."""
        listed = ((page.path, page.says) for page in PAGES if page.says)
        return HTMLResponse(index(listed), headers=_FRESH)

    async def live(self, request: Request, detailed: bool) -> Response:
        """Answer, which says it."""
        return _json({"status": "alive"})

    async def ready(self, request: Request, detailed: bool) -> Response:
        """Tell whether the runtime should get more to do."""
        found = await self._runtime.readiness()
        document = documents.readiness(found) if detailed else documents.ready(found.ready)
        return _json(document, 200 if found.ready else 503)

    async def health(self, request: Request, detailed: bool) -> Response:
        """Tell whether what the program depends on is there."""
        store, checked = await asyncio.gather(self._at_home(self._runtime.vitals.ask), self._checks.answers())
        answers = {"store": store, **checked}
        well = all(answer.well for answer in answers.values())
        document = documents.health(answers, self._runtime.state()) if detailed else documents.healthy(well)
        return _json(document, 200 if well else 503)

    async def workflows(self, request: Request, detailed: bool) -> Response:
        """Tell how the runs of each workflow ended."""
        if self._health is None:
            hint = "call awaitly.serve.app before the runtime is opened, or give it Runtime(watchers=[Health()])"
            return _json(documents.problem("not-watched", "nobody watched how runs ended", hint), 501)
        active = self._runtime.state().active
        return _json(documents.workflows(list(self._runtime.library.by_name), self._health.reports(), active))

    async def circuits(self, request: Request, detailed: bool) -> Response:
        """Tell how the circuit breakers stand."""

        async def look() -> Document:
            found = circuits(self._runtime.states)
            return documents.circuits({name: circuit.snapshot() for name, circuit in found.items()})

        return _json(await self._at_home(look))

    async def limiters(self, request: Request, detailed: bool) -> Response:
        """Tell how the limiters stand."""

        async def look() -> Document:
            return documents.limiters([limiter.snapshot() for limiter in limiters(self._runtime.states)])

        return _json(await self._at_home(look))

    async def metrics(self, request: Request, detailed: bool) -> Response:
        """Show all metrics as Prometheus reads them."""
        if self._runtime.state().phase is Phase.CLOSED:
            return _json(documents.problem("not-open", "the runtime is not open"), 503)
        watching = self._runtime.watching
        exposition = None if watching is None else watching.exposition
        if exposition is None:
            return _unmeasured()
        body, content_type = await run_in_threadpool(exposition.render, request.headers.get("accept"))
        return Response(body, headers={"Content-Type": content_type} | _FRESH)

    async def _at_home(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what ``work`` gives in the runtime's loop; in this one if that has ended."""
        loop = self._runtime.loop
        return await on(loop if loop is not None and loop.is_running() else None, work)


_Answer: TypeAlias = Callable[[Site, Request, bool], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """An endpoint.

    Attributes:
        path: where it is.
        answer: what answers requests for it.
        says: what it tells, for people.
        open: whether those without the token get an answer, if without details.
    """

    path: str
    answer: _Answer
    says: str
    open: bool = False


PAGES = (
    Page("/", Site.index, ""),
    Page("/live", Site.live, "Whether the process answers at all.", open=True),
    Page("/ready", Site.ready, "Whether it should get more to do: open, with room, and in order.", open=True),
    Page("/health", Site.health, "Whether the store, and what else is checked, is there.", open=True),
    Page("/health/workflows", Site.workflows, "How the runs of each workflow ended, and how long they took."),
    Page("/health/circuits", Site.circuits, "How the circuit breakers stand."),
    Page("/health/limiters", Site.limiters, "How the limiters stand."),
    Page("/metrics", Site.metrics, "Metrics, for Prometheus."),
)  # fmt: skip


def _json(document: Document, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return _Valid(document, status, headers=_FRESH | dict(headers or {}))


class _Valid(JSONResponse):
    """JSON whatever is in it: what stands for no character, as in the name of a file, is shown as it is written."""

    def render(self, content: Document) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return _NO_CHARACTER.sub(lambda found: rf"\\u{ord(found[0]):x}", text).encode()


def _unmeasured() -> Response:
    installed = find_spec("prometheus_client") is not None
    hint = (
        "set AWAITLY_PROMETHEUS=true" if installed else "install awaitly[prometheus], and set AWAITLY_PROMETHEUS=true"
    )
    return _json(documents.problem("not-supported", "metrics are not kept for Prometheus", hint), 501)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            document = documents.problem("not-found", f"there is nothing at {request.url.path}")
        case 405:
            document = documents.problem("method-not-allowed", f"{request.method} is not answered: send GET or HEAD")
        case _:
            document = documents.problem("refused", str(error.detail))
    return _json(document, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """Tell the caller nothing; the server logs what is raised."""
    return _json(documents.problem("unexpected-error", "this could not be answered; the log says why"), 500)
