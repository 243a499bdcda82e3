"""What a system of `handlers` declares besides its handlers, kept in the `registry`: clients, checks, stand-ins; and
how its modules are found.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from pydantic_settings import BaseSettings

from worker.errors import ConfigurationError, DeclarationError

Play = TypeVar("Play", bound=Callable[..., Awaitable[None]])
Command = TypeVar("Command")

Factory = Callable[..., AsyncIterator[Any]]
ReadinessFunction = Callable[..., Awaitable[str]]
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
    check: ReadinessFunction


@dataclass(frozen=True)
class Diagnosis:
    """What `hearken doctor` asks of a system.

    `check(settings, connections)` returns what is fine or raises CheckFailed; `connections.connection()` is a context
    with a connection. It runs without a worker, opens what it needs, writes nothing, and survives an unreachable
    database.
    """

    name: str
    settings: type[Any]
    check: ReadinessFunction


@dataclass(frozen=True)
class StandIn:
    """A local server in place of an outside system, for `hearken dev`; not used where the variable `unless` is set.

    harmless        prefixes of values of `unless` that stand for test data; `dev` refuses any other
    start(folder)   an async generator that yields once: the environment variables that point to it
    """

    name: str
    unless: str
    harmless: tuple[str, ...]
    start: StandInFactory


class Extensions:
    """What systems have declared besides handlers, and the decorators that record it."""

    def __init__(self) -> None:
        self.resources: list[Resource] = []
        self.checks: list[Readiness] = []
        self.diagnoses: list[Diagnosis] = []
        self.stand_ins: list[StandIn] = []
        self.demos: dict[str, Callable[..., Awaitable[None]]] = {}
        self.commands: list[Any] = []
        self.relations: set[str] = set()

    def resource(self, factory: Factory) -> Factory:
        """Declare a process-wide client: an async generator `(settings, database)`; see `Context.use`."""
        parameters = list(inspect.signature(factory, eval_str=True).parameters.values())
        settings = parameters[0].annotation if len(parameters) == 2 else None
        if not (isinstance(settings, type) and issubclass(settings, BaseSettings)):
            raise DeclarationError(f"resource {factory.__name__!r}: must take (settings: SomeSettings, database)")
        self.resources.append(Resource(factory, settings))
        return factory

    def readiness(self, name: str, resource: Factory) -> Callable[[ReadinessFunction], ReadinessFunction]:
        """Declare a readiness check named `name` that is given the value of `resource`."""

        def declare(check: ReadinessFunction) -> ReadinessFunction:
            self.checks.append(Readiness(name, resource, check))
            return check

        return declare

    def diagnosis(self, name: str, settings: type[BaseSettings]) -> Callable[[ReadinessFunction], ReadinessFunction]:
        """Declare what `hearken doctor` checks for a system, with the settings that one of its resources has too."""

        def declare(check: ReadinessFunction) -> ReadinessFunction:
            self.diagnoses.append(Diagnosis(name, settings, check))
            return check

        return declare

    def stand_in(
        self, name: str, *, unless: str, harmless: Iterable[str]
    ) -> Callable[[StandInFactory], StandInFactory]:
        """Declare a local server for `hearken dev`: an async generator over `(folder: Path)`; see `StandIn`."""

        def declare(start: StandInFactory) -> StandInFactory:
            self.stand_ins.append(StandIn(name, unless, tuple(harmless), start))
            return start

        return declare

    def demo(self, name: str) -> Callable[[Play], Play]:
        """Declare what `hearken dev --demo` plays for a system: `async def play(stage)`; see `dev.demo`."""

        def declare(play: Play) -> Play:
            self.demos[name] = play
            return play

        return declare

    def reads(self, *relations: str) -> None:
        """Declare tables and views ("schema.name") of which a system needs every row, beside those that it watches.

        No worker runs while row-level security may hide rows of them from its role.
        """
        self.relations.update(relations)

    def command(self, command: Command) -> Command:
        """Add a click command (or group) of a system to `hearken`."""
        self.commands.append(command)
        return command


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
