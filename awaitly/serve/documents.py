"""What is answered, as JSON: the names of fields are promised in docs/health.md."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from awaitly.execute.probe import Answer
from awaitly.execute.standing import Outgoing
from awaitly.execute.vitals import Readiness, State
from awaitly.model.facts import Ending
from awaitly.observe.health import LastError, Report
from awaitly.policies.circuit import Snapshot
from awaitly.policies.turns import LimiterSnapshot
from awaitly.serve.masks import public

Document: TypeAlias = dict[str, Any]

_ENDINGS = {
    Ending.VALUE: "succeeded",
    Ending.FAILURE: "failed",
    Ending.UNEXPECTED: "unexpected",
    Ending.DEADLINE: "deadline",
    Ending.CANCELLED: "cancelled",
}


def problem(code: str, message: str, hint: str = "") -> Document:
    """Return why there is no other answer."""
    return {"error": {"code": code, "message": message} | ({"hint": hint} if hint else {})}


def ready(is_ready: bool) -> Document:
    """Return what everybody may see of readiness."""
    return {"status": "ready" if is_ready else "not ready"}


def readiness(found: Readiness) -> Document:
    """Return whether a runtime is ready, and why not."""
    reasons = [{"code": reason.code, "message": public(reason.message)} for reason in found.reasons]
    return ready(found.ready) | {"reasons": reasons}


def healthy(well: bool) -> Document:
    """Return what everybody may see of health."""
    return {"status": "healthy" if well else "unhealthy"}


def health(answers: Mapping[str, Answer], state: State) -> Document:
    """Return what was checked, and how the runtime is."""
    return healthy(all(answer.well for answer in answers.values())) | {
        "checks": [_check(name, answer) for name, answer in answers.items()],
        "runtime": _state(state),
        "outboxes": [_outbox(name, outbox) for name, outbox in sorted(state.outboxes.items())],
    }


def workflows(names: Iterable[str], reports: Mapping[str, Report], active: Mapping[str, int]) -> Document:
    """Return how the runs of workflows ended, of those too that had none yet."""
    every = sorted({*names, *reports, *active})
    return {"workflows": [_workflow(name, reports.get(name), active.get(name, 0)) for name in every]}


def circuits(found: Mapping[str, Snapshot]) -> Document:
    """Return how circuits stand."""
    return {
        "circuits": [
            {
                "name": name,
                "state": circuit.state,
                "failures": circuit.failures,
                "calls": circuit.calls,
                "half_open_in": _seconds(circuit.half_open_in),
            }
            for name, circuit in sorted(found.items())
        ]
    }


def limiters(found: Iterable[LimiterSnapshot]) -> Document:
    """Return how limiters stand."""
    return {
        "limiters": [
            {
                "name": limiter.name,
                "limit": limiter.limit,
                "per": limiter.per,
                "available": round(limiter.available, 3),
                "waiting": limiter.waiting,
            }
            for limiter in sorted(found, key=lambda each: each.name)
        ]
    }


def _check(name: str, answer: Answer) -> Document:
    found: Document = {"name": name, "status": "ok" if answer.well else "failed", "seconds": _seconds(answer.seconds)}
    return found if answer.well else found | {"error": answer.error, "message": public(answer.message)}


def _state(state: State) -> Document:
    return {
        "phase": state.phase.value,
        "active": sum(state.active.values()),
        "queued": state.queued,
        "queue_age": _seconds(state.queue_age),
        "loop_lag": _seconds(state.loop_lag),
        "dropped": dict(state.dropped),
        "sink_failures": dict(state.sink_failures),
    }


def _outbox(name: str, outbox: Outgoing) -> Document:
    return {
        "name": name,
        "delivered": outbox.delivered,
        "failures": outbox.failures,
        "given_up": outbox.given_up,
        "age": _seconds(outbox.age),
        "failing_for": _seconds(outbox.failing_for),
        "last_error": None if outbox.last_error is None else public(outbox.last_error),
    }


def _workflow(name: str, report: Report | None, active: int) -> Document:
    report = report or Report(ended={}, latest=0, success_rate=None, average=None, p95=None, last_error=None)
    return {
        "name": name,
        "active": active,
        **{text: report.ended.get(ending, 0) for ending, text in _ENDINGS.items()},
        "latest": report.latest,
        "success_rate": None if report.success_rate is None else round(report.success_rate, 4),
        "average": _seconds(report.average),
        "p95": _seconds(report.p95),
        "last_error": _last(report.last_error),
        "rejected": report.rejected,
    }


def _last(error: LastError | None) -> Document | None:
    return None if error is None else {"error": error.error, "at": _moment(error.at)}


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
