"""Who does not send the token learns whether all is well, and nothing else."""

import asyncio

import httpx
import pytest

from awaitly.errors import ConfigurationError
from awaitly.serve import app
from tests.serve.site import PAGES, TOKEN, Site, bearer, direct
from tests.serve.test_checks import refused

OPEN = {"/live": {"status": "alive"}, "/ready": {"status": "ready"}, "/health": {"status": "unhealthy"}}


def guarded() -> Site:
    return Site(checks={"bank": refused}, serve={"token": TOKEN}, prometheus=True)


@pytest.mark.parametrize("path", OPEN)
def test_whether_all_is_well_is_told_to_everybody_without_details(path: str) -> None:
    answer = guarded().get(path)

    assert answer.json() == OPEN[path]


def test_nothing_is_made_for_those_who_may_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message may be long, and anybody may ask."""
    shown: list[str] = []
    monkeypatch.setattr("awaitly.serve.documents.public", lambda text: shown.append(text) or text)
    site = guarded()

    site.get("/health")
    assert shown == []

    site.get("/health", headers=bearer(TOKEN))
    assert shown == ["refused"]


def test_why_it_is_not_ready_is_a_detail() -> None:
    site = guarded()

    async def story() -> tuple[httpx.Response, httpx.Response]:
        async with direct(site.app) as client:
            return await client.get("/ready"), await client.get("/ready", headers=bearer(TOKEN))

    hidden, shown = asyncio.run(story())

    assert (hidden.status_code, hidden.json()) == (503, {"status": "not ready"})
    assert [reason["code"] for reason in shown.json()["reasons"]] == ["not-open"]


@pytest.mark.parametrize("path", [path for path in PAGES if path not in OPEN])
def test_everything_else_asks_for_the_token(path: str) -> None:
    answer = guarded().get(path)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("path", PAGES)
def test_who_sends_the_token_sees_everything(path: str) -> None:
    answer = guarded().get(path, headers=bearer(TOKEN))

    assert answer.status_code == (503 if path == "/health" else 200)
    assert len(answer.content) > len('{"status":"unhealthy"}') or path == "/live"


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
        f"Bearer x{TOKEN}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}",
    ],
)  # fmt: skip
def test_a_wrong_token_is_none(authorization: str) -> None:
    answer = guarded().get("/health/workflows", headers={"Authorization": authorization})

    assert answer.status_code == 401


def test_bytes_that_no_token_has_are_none() -> None:
    answer = guarded().get("/health/workflows", headers=[(b"authorization", b"Bearer \xff\xfe")])

    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_anyhow(scheme: str) -> None:
    answer = guarded().get("/health/workflows", headers={"Authorization": f"{scheme} {TOKEN}"})

    assert answer.status_code == 200


def test_a_token_may_have_letters_that_are_not_ascii() -> None:
    site = Site()
    site.app = app(site.runtime, token="schlüssel")

    answer = site.get("/health/workflows", headers=[(b"authorization", "Bearer schlüssel".encode())])

    assert answer.status_code == 200


def test_a_token_that_is_given_wins_over_the_setting() -> None:
    site = Site(serve={"token": "the other one"})
    site.app = app(site.runtime, token=TOKEN)

    answers: list[httpx.Response] = [
        site.get("/", headers=bearer(token)) for token in ("the other one", TOKEN)
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [401, 200]


@pytest.mark.parametrize("token", ["", " ", "word ", "two\nlines"])
def test_a_token_that_nobody_could_send_is_refused(token: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        app(Site().runtime, token=token)

    assert raised.value.code == "invalid-option"


def test_an_empty_token_in_the_settings_does_not_open_the_door() -> None:
    with pytest.raises(ConfigurationError):
        Site(serve={"token": ""})
