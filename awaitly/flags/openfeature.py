"""Flags that an OpenFeature provider decides. Needs ``awaitly[openfeature]``."""

from typing import Any

from openfeature.api import get_client
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider.no_op_provider import NoOpProvider

from awaitly.errors import ConfigurationError
from awaitly.flags.provider import Decision, Flag, FlagContext


class OpenFeatureFlags:
    """Decides flags by OpenFeature's asynchronous evaluation, in the type of the flag's default.

    The targeting key is the run's id; the attributes are the run's metadata and ``workflow``, the workflow's name. A
    provider without asynchronous evaluation of its own is called on the event loop, and should answer from memory.

    Args:
        client: The client to ask.
        domain: Which domain's client to ask, if none is given; by default OpenFeature's default provider decides.

    Raises:
        ConfigurationError: ``invalid-option``, if both are given.
    """

    name = "openfeature"

    def __init__(self, client: OpenFeatureClient | None = None, domain: str | None = None) -> None:
        if client is not None and domain is not None:
            raise ConfigurationError(
                f"both a client and the domain {domain!r} are given",
                hint="give one of them: a client belongs to a domain already",
                code="invalid-option",
            )
        self._client = get_client(domain) if client is None else client

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        """Return what OpenFeature says; None if its provider does not know the flag, or there is no provider.

        Raises:
            OpenFeatureError: Any other error of the evaluation.
        """
        if isinstance(self._client.provider, NoOpProvider):
            return None
        details = await self._details(flag, context)
        if details.error_code is ErrorCode.FLAG_NOT_FOUND:
            return None
        if (error := details.get_exception()) is not None:
            raise error
        return Decision(details.value, self.name, details.variant or "", str(details.reason or ""))

    def knows(self, flag: str) -> bool | None:
        """Return None: OpenFeature has no list of flags."""

    async def _details(self, flag: Flag, context: FlagContext) -> FlagEvaluationDetails[Any]:
        about = EvaluationContext(context.run_id, {**context.metadata, "workflow": context.workflow})
        match flag.default:
            case bool():
                return await self._client.get_boolean_details_async(flag.name, flag.default, about)
            case int():
                return await self._client.get_integer_details_async(flag.name, flag.default, about)
            case float():
                return await self._client.get_float_details_async(flag.name, flag.default, about)
            case str():
                return await self._client.get_string_details_async(flag.name, flag.default, about)
