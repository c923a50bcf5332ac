"""The names under which observers say things of runs, and what each means: one table, which the documentation shows."""

from collections.abc import Mapping
from typing import Final

RUN_ID: Final = "awaitly.run.id"
WORKFLOW: Final = "awaitly.workflow"
VERSION: Final = "awaitly.workflow.version"
PARENT: Final = "awaitly.run.parent"
FORKED_FROM: Final = "awaitly.run.forked_from"
RESUMED: Final = "awaitly.run.resumed"
RELEASED: Final = "awaitly.run.released"
STEP: Final = "awaitly.step"
CALL: Final = "awaitly.call"
ATTEMPT: Final = "awaitly.attempt"
ATTEMPTS: Final = "awaitly.attempts"
OUTCOME: Final = "awaitly.outcome"
SOURCE: Final = "awaitly.source"
VARIANT: Final = "awaitly.variant"
INPUT: Final = "awaitly.input"
RESULT: Final = "awaitly.result"
REASON: Final = "awaitly.reason"
SECONDS: Final = "awaitly.seconds"
LIMITER: Final = "awaitly.limiter"
BREAKER: Final = "awaitly.breaker"
ERROR_CODE: Final = "awaitly.error.code"
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
FLAG_KEY: Final = "feature_flag.key"
FLAG_VALUE: Final = "feature_flag.result.value"
FLAG_VARIANT: Final = "feature_flag.result.variant"
FLAG_REASON: Final = "feature_flag.result.reason"
FLAG_PROVIDER: Final = "feature_flag.provider.name"

MEANINGS: Final[Mapping[str, str]] = {
    RUN_ID: "The run's id.",
    WORKFLOW: "The workflow's name.",
    VERSION: "The workflow's version, if it has one.",
    PARENT: "The id of the run that this one is a child of.",
    FORKED_FROM: "The id of the run that this one was forked from.",
    RESUMED: "Whether this process took the run over from where it had stopped.",
    RELEASED: "The code of why the run stopped here without ending, such as `run-stopped`. It can be resumed.",
    STEP: "The step's name.",
    CALL: "The identity of the call in its run.",
    ATTEMPT: "The number of the attempt, from 1; of a call that is tried again, of the last one that began.",
    ATTEMPTS: "How many attempts of the call began, those of earlier processes included, if it was not one.",
    OUTCOME: "How it ended: `value`, `failure` (an expected one), `unexpected`, `cancelled`, `deadline`; or"
    " `interrupted`: the run stopped here before it did.",
    SOURCE: "Where an outcome came from if not from the step's function: `cache` or `fallback`.",
    VARIANT: "The function that ran in the step's place.",
    INPUT: "The run's arguments as JSON. Only if asked for.",
    RESULT: "The value of a step or a run as JSON. Only if asked for.",
    REASON: "Why, in words.",
    SECONDS: "A duration: of a wait, or of the delay before the next attempt.",
    LIMITER: "The limiter's name.",
    BREAKER: "The circuit breaker's name.",
    ERROR_CODE: "The code of an error of awaitly, such as `step-timeout`.",
    ERROR_TYPE: "The class of the error.",
    EXCEPTION_TYPE: "The class of the exception.",
    EXCEPTION_MESSAGE: "Its text.",
    EXCEPTION_STACKTRACE: "Its traceback.",
    FLAG_KEY: "The flag's name.",
    FLAG_VALUE: "Its value for this run.",
    FLAG_VARIANT: "The provider's name for that value.",
    FLAG_REASON: "Why the provider chose it.",
    FLAG_PROVIDER: "Who decided.",
}
