"""Configuration: the environment, read once. Every settings class that is declared is read here, together.

The engine's own settings are below; a resource brings a class of its own (see `registry.resource`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import ConfigurationError


class HandlersSetting(BaseSettings):
    """Which modules declare the handlers: read first, because their resources bring settings of their own."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, populate_by_name=True)

    handlers: str = Field(default="handlers", alias="HEARKEN_HANDLERS")

    @property
    def modules(self) -> list[str]:
        """The modules whose handlers run."""
        return [name.strip() for name in self.handlers.split(",") if name.strip()]


class Settings(HandlersSetting):
    """The engine's settings. Times are in seconds."""

    database_url: SecretStr = Field(alias="DATABASE_URL")
    port: int | None = Field(None, alias="PORT", ge=0, le=65535)
    host: str | None = Field(None, alias="HEARKEN_HOST")
    log_level: str = Field("info", alias="HEARKEN_LOG_LEVEL", pattern="^(debug|info|warning|error)$")
    batches: int = Field(4, alias="HEARKEN_BATCHES", ge=1, le=500)
    connections: int = Field(4, alias="HEARKEN_CONNECTIONS", ge=1, le=500)
    query_timeout: float = Field(30.0, alias="HEARKEN_QUERY_TIMEOUT", gt=0)
    shutdown_timeout: float = Field(20.0, alias="HEARKEN_SHUTDOWN_TIMEOUT", gt=0, le=600)
    batch_deadline: float = Field(120.0, alias="HEARKEN_BATCH_DEADLINE", gt=0)
    stalled_after: float = Field(120.0, alias="HEARKEN_STALLED_AFTER", gt=0)
    listen_check: float = Field(5.0, alias="HEARKEN_LISTEN_CHECK", gt=0)
    brake_max: int = Field(100, alias="HEARKEN_BRAKE_MAX", ge=1)
    canary_seconds: float = Field(30.0, alias="HEARKEN_CANARY_SECONDS", ge=0, le=3600)
    cron_secret: SecretStr | None = Field(None, alias="CRON_SECRET", min_length=16)
    retention_days: int = Field(30, alias="HEARKEN_RETENTION_DAYS", ge=1)

    @field_validator("database_url")
    @classmethod
    def _a_postgres_url(cls, value: SecretStr) -> SecretStr:
        try:
            conninfo_to_dict(value.get_secret_value())
        except Exception:
            # The parser's own message quotes the string, password included.
            raise ValueError("is not a connection string; write postgresql://user:password@host:5432/name") from None
        return value

    @property
    def address(self) -> tuple[str, int]:
        """Where HTTP listens: loopback:8080, or every interface at PORT when the platform gives one."""
        host = self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")  # noqa: S104  # PORT asks for it
        return host, 8080 if self.port is None else self.port


def read_settings(
    classes: Iterable[type[BaseSettings]], known: Iterable[type[BaseSettings]] = ()
) -> dict[type[BaseSettings], Any]:
    """Read every class from the environment; those `known` are not needed here, but their variables may be set.

    Raises ConfigurationError naming all that is missing or wrong at once.
    """
    values: dict[type[BaseSettings], Any] = {}
    problems: list[str] = []
    wanted = list(dict.fromkeys(classes))
    for settings_class in wanted:
        try:
            values[settings_class] = settings_class()
        except ValidationError as error:
            problems += _problems(error)
    problems += _misspelt([*wanted, *known])
    if problems:
        raise ConfigurationError(
            "settings are missing or wrong:\n" + "\n".join(f"  {p}" for p in sorted(set(problems)))
        )
    return values


def _problems(error: ValidationError) -> list[str]:
    return [
        # What is wrong with several together names them itself.
        "".join(f"{name}: " for name in e["loc"])
        + ("is not set" if e["type"] == "missing" else e["msg"].removeprefix("Value error, "))
        for e in error.errors(include_input=False, include_url=False)
    ]


def _misspelt(classes: Iterable[type[BaseSettings]]) -> list[str]:
    known = {
        name
        for c in classes
        for field in c.model_fields.values()
        for name in _names(field.validation_alias or field.alias)
    }
    unknown = [name for name in os.environ if name.startswith("HEARKEN_") and name not in known]
    return [
        f"{name}: no such setting; known: {', '.join(sorted(n for n in known if n.startswith('HEARKEN_')))}"
        for name in unknown
    ]


def _names(alias: Any) -> list[str]:
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [] if alias is None else [str(alias)]
