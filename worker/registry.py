"""Declarations: where everything begins. What handlers there are, and what each wants to hear of.

`@on(...)` and `@every(...)` only record; nothing touches a database here. `triggers` compiles the subscriptions,
`consumer` runs the handlers, `ticking` the schedules, `app` opens the resources and asks the readiness checks.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from worker.cron import CatchUp
from worker.declaration import CHANGES, Handler, check_handler, refuse, subscribe
from worker.endpoints import Endpoint, NoBody, reading, requested
from worker.errors import DeclarationError
from worker.schedules import scheduled
from worker.systems import Check, Factory, Readiness, Resource, StandIn, StandInFactory, import_modules

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])
Command = TypeVar("Command")


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
        active: str | None = None,
        brake: bool = True,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as a handler of the table `topic` ("schema.table"). Raises DeclarationError.

        watch     columns whose change makes an event (default: all); the others alone make none
        exclude   columns that never enter the log; ops: of insert, update, delete, truncate
        fold      level-triggered: only a key's newest event counts, and it replaces a parked older one
        transactional  called with (changes, ctx) and the batch's transaction, instead of (change, ctx)
        formerly  the name this handler had before; its cursor and parked events are taken over
        active    a column whose turning false or null counts as a delete for the brake
        brake     False for an external handler of a table that loses many rows as a matter of course
        """
        _require_table(topic)

        def declare(function: Function) -> Function:
            self._add(
                Handler(
                    name=function.__name__,
                    function=function,
                    subscription=subscribe(function.__name__, topic, watch, exclude, ops, active),
                    fold=fold,
                    transactional=transactional,
                    concurrency=concurrency,
                    shards=shards,
                    batch=batch,
                    timeout=timeout,
                    attempts=attempts,
                    formerly=formerly,
                    brake=brake,
                )
            )
            return function

        return declare

    def every(
        self,
        cron: str,
        *,
        tz: str = "UTC",
        catch_up: CatchUp = "one",
        name: str | None = None,
        transactional: bool = False,
        batch: int = 1000,
        timeout: float = 60.0,
        attempts: int = 12,
        formerly: str | None = None,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as a handler of ticks, which are due when `cron` says (five fields).

        tz        the time zone that the cron expression is read in
        catch_up  of the ticks that were missed while no worker was there: the newest "one", "all", or none ("skip");
                  unless it is "all", only the newest tick of a batch counts, as with `fold` of `on`
        name      what the schedule is called in its topic, tick/NAME (default: the function's name)
        The other options are those of `on`. Raises DeclarationError.
        """

        def declare(function: Function) -> Function:
            options = {"batch": batch, "timeout": timeout, "attempts": attempts, "formerly": formerly}
            self._add(scheduled(function, name, cron, tz, catch_up, transactional=transactional, **options))
            return function

        return declare

    def endpoint(
        self,
        name: str,
        *,
        path: str,
        body: type[BaseModel] = NoBody,
        read: Callable[..., Awaitable[Any]] | None = None,
        wait: float = 25.0,
        alone: bool = False,
        rate: int = 60,
        concurrency: int = 10,
        shards: int = 1,
        timeout: float = 60.0,
        attempts: int = 12,
        formerly: str | None = None,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as the handler of what is POSTed to `path`; what it returns is the answer.

        body   the pydantic model of what is POSTed, as JSON (default: nothing)
        read   an `async def` of (query: SomeModel, database) that answers GET; without it GET says how to POST
        wait   seconds until a POST is answered 202, with where to ask for the outcome
        alone  refuse a POST while another run is under way
        rate   requests a minute
        The other options are those of `on`. Raises DeclarationError.
        """

        def declare(function: Function) -> Function:
            where = Endpoint(name, path, body, reading(function.__name__, read), wait, alone, rate)
            limits = {"concurrency": concurrency, "shards": shards, "timeout": timeout, "attempts": attempts}
            self._add(requested(function, where, **limits, formerly=formerly))
            return function

        return declare

    def _add(self, handler: Handler) -> None:
        check_handler(handler)
        known = self.handlers.get(handler.name)
        if known is not None:
            places = " and ".join(f"{h.function.__module__}.{h.function.__qualname__}" for h in (known, handler))
            raise refuse(handler.name, f"is declared twice ({places}); a handler's name is its identity: rename one")
        for one in self.handlers.values():
            if not handler.subscription.is_table and one.topics == handler.topics:
                raise refuse(handler.name, f"handler {one.name!r} hears {handler.topics[0]} too: choose another name")
            if handler.endpoint and one.endpoint and one.endpoint.path == handler.endpoint.path:
                raise refuse(handler.name, f"handler {one.name!r} has the path {one.endpoint.path} too: choose another")
        for one in (handler, *self.handlers.values()):
            if one.formerly in {handler.name, *self.handlers}:
                raise refuse(one.name, f"formerly={one.formerly!r}, but a handler of that name is still declared")
        self.handlers[handler.name] = handler

    def resource(self, factory: Factory) -> Factory:
        """Declare a process-wide client: an async generator `(settings, database)`; see `Context.use`."""
        parameters = list(inspect.signature(factory, eval_str=True).parameters.values())
        settings = parameters[0].annotation if len(parameters) == 2 else None
        if not (isinstance(settings, type) and issubclass(settings, BaseSettings)):
            raise DeclarationError(f"resource {factory.__name__!r}: must take (settings: SomeSettings, database)")
        self.resources.append(Resource(factory, settings))
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

    def command(self, command: Command) -> Command:
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


def _require_table(topic: object) -> None:
    if not isinstance(topic, str):
        raise DeclarationError('@on needs to know its table: write @on("schema.table")')


registry = Registry()
on = registry.on
every = registry.every
endpoint = registry.endpoint
resource = registry.resource
readiness = registry.readiness
stand_in = registry.stand_in
demo = registry.demo
command = registry.command
