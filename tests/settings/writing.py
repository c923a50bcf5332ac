"""How tests write settings into each source, and read what is said when they are refused."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from awaitly.errors import ConfigurationError
from awaitly.settings import read_settings
from awaitly.settings.sources import Place, spelling

FILES = (Place.ARGUMENT, Place.TOML, Place.PYPROJECT)  # these have types; the others have text alone
TEXTS = (Place.ENVIRONMENT, Place.DOTENV, Place.SECRETS)


def refused(given: Mapping[str, Any] | None = None) -> str:
    """Return what is said when the settings are refused."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(**(given or {}))
    assert caught.value.code == "invalid-setting"
    return caught.value.message


def write(place: Place, path: tuple[str, ...], value: object, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write a value into a source; return what is to be given as arguments."""
    text = value if isinstance(value, str) else json.dumps(value)
    match place:
        case Place.ARGUMENT:
            return tree(path, value)
        case Place.ENVIRONMENT:
            monkeypatch.setenv(spelling(path, place), text)
        case Place.DOTENV:
            _add(".env", f"{spelling(path, place)}='{text}'\n")
        case Place.SECRETS:
            monkeypatch.setenv("AWAITLY_SECRETS_DIR", "secrets")
            os.makedirs("secrets", exist_ok=True)
            Path("secrets", spelling(path, place)).write_text(f"{text}\n", encoding="utf-8")
        case Place.TOML:
            _add("awaitly.toml", _toml(path, value))
        case Place.PYPROJECT:
            _add("pyproject.toml", _toml(("tool", "awaitly", *path), value))
    return {}


def forget() -> None:
    """Remove what was written into files."""
    for file in (".env", "awaitly.toml", "pyproject.toml"):
        Path(file).unlink(missing_ok=True)
    for secret in Path("secrets").glob("*"):
        secret.unlink()


def tree(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return a value as a table in tables."""
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _toml(path: tuple[str, ...], value: object) -> str:
    *above, last = path
    return (f"[{'.'.join(above)}]\n" if above else "") + f"{last} = {json.dumps(value, separators=(', ', ' = '))}\n"


def _add(file: str, text: str) -> None:
    with open(file, "a", encoding="utf-8") as out:
        out.write(text)
