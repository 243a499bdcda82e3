"""Promise: settings are read once, and all that is missing or wrong is named in one message, without its value."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from worker.errors import ConfigurationError
from worker.settings import HandlersSetting, Settings, read_settings

URL = "postgresql://clerk:hush-hush@db.example:5433/shop"


class Mail(BaseSettings):
    """A resource's settings."""

    server: str = Field(alias="MAIL_SERVER")
    password: SecretStr = Field(alias="HEARKEN_MAIL_PASSWORD")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only a database is set."""
    for name in os.environ:
        if name.startswith("HEARKEN_") or name in ("PORT", "MAIL_SERVER"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", URL)
    return monkeypatch


def read() -> Settings:
    settings: Settings = read_settings([Settings])[Settings]
    return settings


def refusal(*classes: type[BaseSettings]) -> list[str]:
    """The lines of the message that reading ends with."""
    with pytest.raises(ConfigurationError) as refused:
        read_settings(classes)
    return str(refused.value).splitlines()


def test_a_database_is_all_that_is_needed() -> None:
    """The rest has defaults; the password is not printed."""
    settings = read()
    assert settings.database_url.get_secret_value() == URL
    assert (settings.modules, settings.address, settings.retention_days) == (["handlers"], ("127.0.0.1", 8080), 30)
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_all_that_is_wrong_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    """Of the engine's settings and of the resources', one line each."""
    environment.delenv("DATABASE_URL")
    environment.setenv("PORT", "eighty")
    environment.setenv("HEARKEN_LOG_LEVEL", "loud")
    environment.setenv("HEARKEN_RETENTION_DAYS", "0")
    environment.setenv("HEARKEN_RETENTION", "30")
    lines = refusal(Settings, Mail)
    assert lines[0] == "settings are missing or wrong:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "DATABASE_URL",
        "HEARKEN_LOG_LEVEL",
        "HEARKEN_MAIL_PASSWORD",
        "HEARKEN_RETENTION",
        "HEARKEN_RETENTION_DAYS",
        "MAIL_SERVER",
        "PORT",
    ]
    assert "  MAIL_SERVER: is not set" in lines


def test_an_unknown_setting_is_refused(environment: pytest.MonkeyPatch) -> None:
    """A misspelt one would otherwise be a default that nobody chose; the message lists those there are."""
    environment.setenv("HEARKEN_RETENTION_DAY", "3")
    (_, line) = refusal(Settings)
    assert line.startswith("  HEARKEN_RETENTION_DAY: no such setting; known: HEARKEN_BATCHES, ")
    assert "HEARKEN_RETENTION_DAYS" in line


def test_what_others_need_is_known_too(environment: pytest.MonkeyPatch) -> None:
    """A command that does without a resource does not mind its settings."""
    environment.setenv("HEARKEN_MAIL_PASSWORD", "x")
    assert len(refusal(Settings)) == 2
    assert read_settings([Settings], known=[Mail])[Settings]


@pytest.mark.parametrize(
    "url",
    [
        "clerk:hush-hush@db.example",
        "postgresql://clerk:hush-hush@[db/shop",
        "host=db password=hush-hush nonsense",
        "hush-hush",
    ],
)
def test_a_wrong_database_url_is_not_shown(environment: pytest.MonkeyPatch, url: str) -> None:
    """The parser would quote it, password and all."""
    environment.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        read()
    assert "DATABASE_URL: is not a connection string; write postgresql://user:password@host:5432/name" in str(
        refused.value
    )
    seen: BaseException | None = refused.value
    while seen is not None:
        assert "hush" not in f"{seen} {seen!r}"
        seen = seen.__context__ if not seen.__suppress_context__ else seen.__cause__


@pytest.mark.parametrize("url", ["host=db user=clerk dbname=shop", "postgres://clerk@db/shop?sslmode=require"])
def test_any_form_of_connection_string_will_do(environment: pytest.MonkeyPatch, url: str) -> None:
    """As libpq takes them."""
    environment.setenv("DATABASE_URL", url)
    assert read().database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("HEARKEN_BATCHES", "0"),
        ("HEARKEN_CONNECTIONS", "many"),
        ("HEARKEN_QUERY_TIMEOUT", "0"),
        ("HEARKEN_SHUTDOWN_TIMEOUT", "-5"),
        ("HEARKEN_BATCH_DEADLINE", "0"),
        ("HEARKEN_LISTEN_CHECK", ""),
    ],
)
def test_values_out_of_range_are_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """By the name of the variable, not of a field."""
    environment.setenv(name, value)
    (_, line) = refusal(Settings)
    assert line.startswith(f"  {name}: Input should be")


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ("127.0.0.1", 8080)),
        ({"PORT": "5000"}, ("0.0.0.0", 5000)),  # what a platform expects
        ({"PORT": "5000", "HEARKEN_HOST": "::1"}, ("::1", 5000)),
        ({"HEARKEN_HOST": "::"}, ("::", 8080)),
    ],
)
def test_a_platform_s_port_is_open_to_it(
    environment: pytest.MonkeyPatch, variables: dict[str, str], address: tuple[str, int]
) -> None:
    """On one's own machine it listens to that alone."""
    for name, value in variables.items():
        environment.setenv(name, value)
    assert read().address == address


def test_handlers_are_a_list_of_modules(environment: pytest.MonkeyPatch) -> None:
    """Separated by commas; read before the rest, because they bring settings."""
    environment.setenv("HEARKEN_HANDLERS", " shop.mail, shop.rooms,,")
    found: Any = read_settings([HandlersSetting], known=[Settings])[HandlersSetting]
    assert found.modules == read().modules == ["shop.mail", "shop.rooms"]
