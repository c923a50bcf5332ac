"""What is secret by its name."""

import pytest

from awaitly.model.secrets import is_secret, redacted


@pytest.mark.parametrize(
    "name",
    [
        "secret", "password", "api_key", "apiKey", "x-api-key", "Authorization", "headers", "credential",
        "secrets", "passwords", "api_keys", "apiKeys", "pin_tokens", "credentials", "cookies",
    ],
)  # fmt: skip
def test_a_name_with_a_word_for_secrets_is_one_of_a_secret_be_it_one_or_several(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["user", "amount", "keyboard", "tokenizer", "secretary", "status"])
def test_a_name_that_only_begins_like_one_of_a_secret_is_none(name: str) -> None:
    assert not is_secret(name)


def test_a_list_of_secrets_is_masked_as_a_whole() -> None:
    assert redacted({"user": "ada", "pin_tokens": ["a", "b"]}) == {"user": "ada", "pin_tokens": "***"}
