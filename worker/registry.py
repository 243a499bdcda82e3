"""Declarations: where everything begins. What handlers there are, and what each wants to hear of.

`@on(...)` only records; nothing touches a database here. `triggers` compiles the subscriptions, `consumer` runs the
handlers, `app` opens the resources and asks the readiness checks.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from worker.errors import ConfigurationError, DeclarationError

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])
Factory = Callable[..., AsyncIterator[Any]]
Check = Callable[..., Awaitable[str]]
StandInFactory = Callable[..., AsyncIterator[dict[str, str]]]

CHANGES = ("insert", "update", "delete", "truncate")


@dataclass(frozen=True)
class Subscription:
    """One topic a handler hears of. `watch` None means every column; `exclude` never enters the log."""

    topic: str
    ops: tuple[str, ...] = CHANGES
    watch: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Handler:
    """A declared handler. Its name is its identity: in tables, metrics and idempotency keys.

    timeout is in seconds per delivery (of a batch, for a transactional handler); attempts counts tries before dead.
    """

    name: str
    function: Callable[..., Awaitable[Any]] = field(repr=False)
    subscription: Subscription
    fold: bool = False
    transactional: bool = False
    concurrency: int = 10
    shards: int = 1
    batch: int = 1000
    timeout: float = 60.0
    attempts: int = 12
    formerly: str | None = None

    @property
    def topics(self) -> list[str]:
        return [self.subscription.topic]


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


def _refuse(name: str, problem: str) -> DeclarationError:
    return DeclarationError(f"handler {name!r}: {problem}")


def _check_limits(handler: Handler) -> None:
    for option in ("concurrency", "shards", "batch", "timeout", "attempts"):
        if getattr(handler, option) <= 0:
            raise _refuse(handler.name, f"{option}= must be more than 0, not {getattr(handler, option)}")
    if handler.fold and handler.transactional:
        raise _refuse(handler.name, "fold= is for external handlers; a transactional one is given the whole batch")
    if not inspect.iscoroutinefunction(handler.function):
        raise _refuse(handler.name, "must be declared with `async def`")
    first = "changes" if handler.transactional else "change"
    try:
        inspect.signature(handler.function).bind(first, "ctx")
    except TypeError:
        raise _refuse(handler.name, f"must take ({first}, ctx)") from None


def _check_subscription(name: str, subscription: Subscription) -> None:
    if not re.fullmatch(r"[^.]+\.[^.]+", subscription.topic):
        raise _refuse(name, f"topic {subscription.topic!r} must be written schema.table")
    if unknown := set(subscription.ops) - set(CHANGES):
        raise _refuse(name, f"ops= has {sorted(unknown)}; known are {list(CHANGES)}")
    if not subscription.ops:
        raise _refuse(name, f"ops= is empty; known are {list(CHANGES)}")
    if subscription.watch is not None and not subscription.watch:
        raise _refuse(name, "watch= is empty; leave it out to watch every column")
    if both := set(subscription.watch or ()) & set(subscription.exclude):
        raise _refuse(name, f"columns {sorted(both)} stand in both watch= and exclude=")


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


class Registry:
    """A set of declarations. The module's `on`, `resource` and `readiness` fill the process's own one."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.resources: list[Resource] = []
        self.checks: list[Readiness] = []
        self.stand_ins: list[StandIn] = []
        self.demos: dict[str, Callable[..., Awaitable[None]]] = {}
        self.commands: list[Any] = []

    def on(
        self,
        topic: str,
        *,
        watch: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        ops: Iterable[str] = CHANGES,
        fold: bool = False,
        transactional: bool = False,
        concurrency: int = 10,
        shards: int = 1,
        batch: int = 1000,
        timeout: float = 60.0,
        attempts: int = 12,
        formerly: str | None = None,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as a handler of the table `topic` ("schema.table").

        watch     columns whose change makes an event (default: all); the others alone make none
        exclude   columns that never enter the log
        ops       of insert, update, delete, truncate
        fold      level-triggered: only a key's newest event counts, and it replaces a parked older one
        transactional  called with (changes, ctx) and the batch's transaction, instead of (change, ctx)
        formerly  the name this handler had before; its cursor and parked events are taken over
        Raises DeclarationError.
        """

        if not isinstance(topic, str):
            raise DeclarationError('@on needs to know its table: write @on("schema.table")')

        def declare(function: Function) -> Function:
            for option, value in (("watch", watch), ("exclude", exclude), ("ops", ops)):
                if isinstance(value, str):
                    raise _refuse(function.__name__, f'{option}= is a tuple of names: write ("{value}",)')
            columns = None if watch is None else tuple(watch)
            subscription = Subscription(topic, tuple(ops), columns, tuple(exclude))
            self._add(
                Handler(
                    name=function.__name__,
                    function=function,
                    subscription=subscription,
                    fold=fold,
                    transactional=transactional,
                    concurrency=concurrency,
                    shards=shards,
                    batch=batch,
                    timeout=timeout,
                    attempts=attempts,
                    formerly=formerly,
                )
            )
            return function

        return declare

    def _add(self, handler: Handler) -> None:
        _check_limits(handler)
        _check_subscription(handler.name, handler.subscription)
        known = self.handlers.get(handler.name)
        if known is not None:
            places = " and ".join(f"{h.function.__module__}.{h.function.__qualname__}" for h in (known, handler))
            raise _refuse(handler.name, f"is declared twice ({places}); a handler's name is its identity: rename one")
        for one in (handler, *self.handlers.values()):
            if one.formerly in {handler.name, *self.handlers}:
                raise _refuse(one.name, f"formerly={one.formerly!r}, but a handler of that name is still declared")
        self.handlers[handler.name] = handler

    def resource(self, factory: Factory) -> Factory:
        """Declare a process-wide client: an async generator `(settings, database)`; see `Context.use`."""
        parameters = list(inspect.signature(factory, eval_str=True).parameters.values())
        if len(parameters) != 2 or not isinstance(parameters[0].annotation, type):
            raise DeclarationError(f"resource {factory.__name__!r}: must take (settings: SomeSettings, database)")
        self.resources.append(Resource(factory, parameters[0].annotation))
        return factory

    def readiness(self, name: str, resource: Factory) -> Callable[[Check], Check]:
        """Declare a readiness check named `name` that is given the value of `resource`."""

        def declare(check: Check) -> Check:
            self.checks.append(Readiness(name, resource, check))
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

    def demo(self, name: str) -> Callable[[Function], Function]:
        """Declare what `hearken dev --demo` plays for a system: `async def play(stage)`; see `dev.demo`."""

        def declare(play: Function) -> Function:
            self.demos[name] = play
            return play

        return declare

    def command(self, command: Any) -> Any:
        """Add a click command (or group) of a system to `hearken`."""
        self.commands.append(command)
        return command

    def load(self, modules: Iterable[str]) -> None:
        """Import the modules named (packages with what is directly in them) so that their declarations are known.

        Raises ConfigurationError when a module cannot be found.
        """
        for name in modules:
            import_modules(name)

    @property
    def areas(self) -> list[str]:
        """The folders of `schema/` that belong to what is declared: that of handlers/NAME is schema/NAME."""
        functions = [r.factory for r in self.resources] + [h.function for h in self.handlers.values()]
        modules = [function.__module__.split(".") for function in functions]
        return sorted({names[1] for names in modules if names[0] == "handlers" and len(names) > 1})


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


registry = Registry()
on = registry.on
resource = registry.resource
readiness = registry.readiness
stand_in = registry.stand_in
demo = registry.demo
command = registry.command
