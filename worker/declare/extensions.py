"""What a system of `handlers` declares beside its handlers, recorded by `registry`: clients, checks, stand-ins; and how
its modules are found.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from worker.errors import ConfigurationError

Factory = Callable[..., AsyncIterator[Any]]
Check = Callable[..., Awaitable[str]]
StandInFactory = Callable[..., AsyncIterator[dict[str, str]]]


@dataclass(frozen=True)
class Resource:
    """A process-wide client: `factory(settings, database)` is an async generator that yields it once."""

    factory: Factory
    settings: type[Any]


@dataclass(frozen=True)
class Readiness:
    """A named check for /readyz; it is given the resource's value and returns what is fine, or raises CheckFailed."""

    name: str
    resource: Factory
    check: Check


@dataclass(frozen=True)
class Diagnosis:
    """What `hearken doctor` asks of a system.

    `check(settings, connections)` returns what is fine or raises CheckFailed; `connections.connection()` is a context
    with a connection. It runs without a worker, opens what it needs, writes nothing, and bears a database that is away.
    """

    name: str
    settings: type[Any]
    check: Check


@dataclass(frozen=True)
class StandIn:
    """A local server in place of an outside system, for `hearken dev`; not used where the variable `unless` is set.

    harmless        how values of `unless` begin that lead to test data; `dev` refuses any other
    start(folder)   an async generator that yields the environment variables that lead to it, once
    """

    name: str
    unless: str
    harmless: tuple[str, ...]
    start: StandInFactory


def import_modules(name: str) -> list[ModuleType]:
    """The module; for the package `handlers` itself, every module and package directly in it.

    Raises ConfigurationError when it cannot be found.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"HEARKEN_HANDLERS: no module named {name!r} on the path") from error
        raise
    if name != "handlers":
        return [module]
    return [importlib.import_module(f"handlers.{found.name}") for found in pkgutil.iter_modules(module.__path__)]
