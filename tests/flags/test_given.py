"""What people may give as a provider."""

import asyncio
import subprocess
import sys

import pytest
from openfeature import api

from awaitly.errors import ConfigurationError
from awaitly.flags.function import FunctionFlags
from awaitly.flags.given import openfeature_flags, provider_of
from awaitly.flags.openfeature import OpenFeatureFlags
from awaitly.flags.provider import Decision, Flag, FlagContext
from awaitly.flags.rules import Rule
from awaitly.flags.settings import SettingsFlags

CONTEXT = FlagContext("order:7", "checkout")


class Own:
    name = "own"

    async def decide(self, flag: Flag, context: FlagContext) -> Decision | None:
        return Decision(True, self.name)

    def knows(self, flag: str) -> bool:
        return True

    def __call__(self) -> None:
        raise AssertionError


def test_a_provider_stays_what_it_is_even_if_it_can_be_called() -> None:
    own = Own()

    assert provider_of(own) is own


def test_none_knows_no_flag() -> None:
    assert asyncio.run(provider_of(None).decide(Flag("new-flow"), CONTEXT)) is None


@pytest.mark.parametrize("rule", [True, "1", {"share": 1}, Rule.model_validate({"share": 1})])
def test_a_mapping_gives_rules(rule: object) -> None:
    provider = provider_of({"new-flow": rule})

    found = asyncio.run(provider.decide(Flag("NEW_FLOW"), CONTEXT))

    assert isinstance(provider, SettingsFlags)
    assert found is not None
    assert found.value is True


def test_a_mapping_with_a_rule_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)new-flow: a number is a share.*\[invalid-option\]"):
        provider_of({"new-flow": 7})


def test_a_function_decides() -> None:
    assert isinstance(provider_of(lambda flag, context: True), FunctionFlags)


def test_a_client_of_openfeature_decides() -> None:
    assert isinstance(provider_of(api.get_client("shop")), OpenFeatureFlags)
    assert isinstance(openfeature_flags(domain="shop"), OpenFeatureFlags)


@pytest.mark.parametrize("value", [7, "new-flow", ["new-flow"], Own, object()])
def test_anything_else_is_refused_with_what_may_be_given(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"which decides no flags\. give a mapping.*\[invalid-option\]"):
        provider_of(value)


WITHOUT = """
import sys
sys.modules["openfeature"] = None
from awaitly.errors import NotSupported
from awaitly.flags.given import openfeature_flags, provider_of
assert provider_of({"new-flow": True}).knows("new-flow")
try:
    openfeature_flags()
except NotSupported as error:
    print(error)
"""


def test_without_the_package_its_flags_are_refused_with_what_to_install() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout == (
        "flags of OpenFeature need the package openfeature-sdk, which is not installed."
        " install awaitly[openfeature]. [not-supported]\n"
    )


def test_openfeature_is_imported_by_those_alone_who_use_it() -> None:
    code = "import sys, awaitly.flags.given; print('openfeature' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout == "False\n"
