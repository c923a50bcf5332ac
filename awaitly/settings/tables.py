"""What an operator may say about steps, breakers, limiters and workflows. What is not given stays as declared.

A field has the name of the option that it overrides.
"""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from awaitly.policies.backoff import Jitter, Shape
from awaitly.policies.breaker import WhenOpen
from awaitly.policies.turns import Mode
from awaitly.settings.masks import masked
from awaitly.settings.values import Amount, Burst, Count, Factor, Growth, Lease, Period, Port, Share, Span, Whole


class Table(BaseModel):
    """A group of settings; a name that is none of them is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, masked((name,), getattr(self, name), None)) for name in type(self).model_fields)


class LeaseSettings(Table):
    """How a process holds the runs that it executes."""

    ttl: Lease = Field(default=15.0, description="How long a silent process keeps its runs. Renewed every third of it.")


class SwitchSettings(Table):
    """Whether a policy is used; its numbers are elsewhere."""

    enabled: bool | None = Field(default=None, description="Whether the step uses it at all.")


class LogSettings(Table):
    """What this process logs, to standard error."""

    format: Literal["json", "console"] | None = Field(
        default=None, description="Sets up logging, for machines or for people. Without it, logging is left alone."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )


class OtlpSettings(Table):
    """Where traces and metrics go, unless the application has set up OpenTelemetry itself.

    What is not given is taken from the standard ``OTEL_*`` variables.
    """

    endpoint: str | None = Field(
        default=None, description="Where traces and metrics are sent.", examples=["http://localhost:4318"]
    )
    headers: str | None = Field(
        default=None, description="What is sent along, such as a key. A secret.", examples=["name=value,name=value"]
    )
    protocol: Literal["http/protobuf", "grpc"] | None = Field(default=None, description="How they are sent.")
    service_name: str | None = Field(
        default=None, description="What the service is called there.", examples=["checkout"]
    )
    traces: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether runs are traced; auto: if there is an endpoint or the application uses OpenTelemetry.",
    )
    metrics: Literal["auto", "off"] = Field(
        default="auto",
        description="Whether metrics are sent; auto: if there is an endpoint or the application uses OpenTelemetry.",
    )


class ServeSettings(Table):
    """Where ``awaitly serve`` listens, and who may read more there than whether all is well."""

    host: str = Field(
        default="127.0.0.1", description="The address that awaitly serve listens on.", examples=["127.0.0.1", "0.0.0.0"]
    )
    port: Port = Field(default=8600, description="The port that it listens on; 0 is any free one.")
    token: str | None = Field(
        default=None,
        description="What callers send as Authorization: Bearer to see details, of awaitly.serve.app too. A secret.",
        examples=["a long random word"],
    )


class SentrySettings(Table):
    """Where errors that nobody expected are reported, unless the application has set up Sentry itself."""

    dsn: str | None = Field(
        default=None,
        description="The project of Sentry that they are reported to. A secret.",
        examples=["https://KEY@HOST/PROJECT"],
    )
    environment: str | None = Field(
        default=None, description="The environment that they are reported for.", examples=["production"]
    )
    sample_rate: Share = Field(default=1.0, description="The share of errors that is sent.")
    expected: bool = Field(default=False, description="Whether failures that were declared are reported too.")
    transactions: bool = Field(default=False, description="Whether runs are reported as transactions.")
    traces_sample_rate: Share = Field(default=1.0, description="The share of transactions that is sent.")
    errors: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether errors are reported; auto: with a DSN, or if the application uses Sentry.",
    )


class RetrySettings(Table):
    """How often a step is attempted again, and when."""

    enabled: bool | None = Field(default=None, description="Whether a failed attempt is followed by another.")
    attempts: Count | None = Field(default=None, description="Attempts in all, the first one included.")
    backoff: Shape | None = Field(default=None, description="How the delay grows from attempt to attempt.")
    initial: Span | None = Field(default=None, description="The delay before the second attempt.")
    max: Period | None = Field(default=None, description="The longest delay between two attempts.")
    multiplier: Factor | None = Field(default=None, description="The factor of exponential growth.")
    jitter: Jitter | None = Field(default=None, description="How much of a delay is left to chance.")
    within: Period | None = Field(
        default=None, description="The time, from the first attempt, in which the last one has to begin."
    )
    retry_after: bool | None = Field(default=None, description="Whether the delay that a server asks for is kept.")


class CacheSettings(Table):
    """How long a step's outcome serves other calls."""

    enabled: bool | None = Field(default=None, description="Whether outcomes are kept and looked up.")
    ttl: Period | None = Field(default=None, description="How long an outcome is kept.")
    where: Literal["memory", "store"] | None = Field(default=None, description="Where outcomes are kept.")
    size: Count | None = Field(default=None, description="How many outcomes are kept in memory.")


class HedgeSettings(Table):
    """When a second attempt begins beside a slow one."""

    enabled: bool | None = Field(default=None, description="Whether slow attempts are hedged.")
    after: Period | None = Field(default=None, description="How long an attempt takes before another begins.")
    extra: Count | None = Field(default=None, description="How many attempts may begin beside the first one.")


class StepSettings(Table):
    """One step, by its name: its limits of time and its policies."""

    timeout: Period | None = Field(default=None, description="The time of one attempt.")
    deadline: Period | None = Field(default=None, description="The time of a call with all its attempts and delays.")
    retry: RetrySettings = RetrySettings()
    cache: CacheSettings = CacheSettings()
    hedge: HedgeSettings = HedgeSettings()
    breaker: SwitchSettings = SwitchSettings()
    limiter: SwitchSettings = SwitchSettings()
    fallback: SwitchSettings = SwitchSettings()


class BreakerSettings(Table):
    """One circuit breaker, by its name, for all steps that use it."""

    enabled: bool | None = Field(default=None, description="Whether the breaker counts and refuses at all.")
    failure_threshold: Count | None = Field(
        default=None, description="How many failures in the window open the circuit."
    )
    failure_ratio: Share | None = Field(
        default=None, description="The share of failures among the calls of the window that opens the circuit."
    )
    slow_call: Period | None = Field(default=None, description="From when on a call counts as slow.")
    slow_ratio: Share | None = Field(
        default=None, description="The share of slow calls among those of the window that opens the circuit."
    )
    window: Period | None = Field(default=None, description="How long a call is counted.")
    window_calls: Count | None = Field(default=None, description="How many of the last calls are counted.")
    minimum_calls: Count | None = Field(default=None, description="How many calls it takes before ratios count.")
    reset_timeout: Period | None = Field(default=None, description="How long the circuit stays open.")
    reset_growth: Growth | None = Field(
        default=None, description="The factor by which that grows each time that a probe fails."
    )
    reset_max: Period | None = Field(default=None, description="The longest that the circuit stays open.")
    half_open_max: Count | None = Field(default=None, description="How many probes may be under way at once.")
    success_threshold: Count | None = Field(default=None, description="How many probes must succeed to close it.")
    when_open: WhenOpen | None = Field(
        default=None, description="Whether a call fails at once while the circuit is open, or waits."
    )


class LimiterSettings(Table):
    """One limiter, by its name, for all steps that use it. A rate has ``per``, a concurrency has ``queue``."""

    enabled: bool | None = Field(default=None, description="Whether the limiter limits at all.")
    limit: Amount | None = Field(default=None, description="How many calls: in each period, or at once.")
    per: Period | None = Field(default=None, description="The period of a rate.")
    burst: Burst | None = Field(default=None, description="How many calls a rate lets through at once.")
    queue: Whole | None = Field(default=None, description="How many calls may wait for a concurrency.")
    mode: Mode | None = Field(default=None, description="Whether a call above the limit waits, or fails at once.")
    max_wait: Span | None = Field(default=None, description="The longest that a call waits for its turn.")


class WorkflowSettings(Table):
    """One workflow, by its name."""

    deadline: Period | None = Field(default=None, description="The time that a run may take from its start.")
    retention: Period | None = Field(default=None, description="How long a run is kept after its end.")
