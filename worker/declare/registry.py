"""Declarations, where everything begins: which handlers there are, and what each subscribes to.

`@on(...)` and `@every(...)` only record; nothing touches a database here. `triggers` compiles the subscriptions,
`consumer` runs the handlers, `ticker` the schedules, `app` opens the resources and asks the readiness checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel

from worker.declare.builtin import CANARY
from worker.declare.cron import CatchUp
from worker.declare.endpoint import reading, requested
from worker.declare.extensions import Extensions, import_modules
from worker.declare.handler import (
    CHANGES,
    Endpoint,
    Handler,
    NoBody,
    check_beside,
    check_handler,
    require_table,
    subscribe,
)
from worker.declare.reconciler import Find, Look, Reconciler
from worker.declare.schedule import scheduled
from worker.errors import DeclarationError

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])


class Registry(Extensions):
    """A set of declarations. The module's `on`, `resource` and `readiness` fill the process's own one.

    `engine` holds the engine's own handlers: enrolled and run like others, but no worker waits for them to be.
    """

    def __init__(self, engine: Iterable[Handler] = ()) -> None:
        super().__init__()
        self.handlers: dict[str, Handler] = {}
        self.engine: dict[str, Handler] = {handler.name: handler for handler in engine}
        self.reconcilers: dict[str, Reconciler] = {}

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
        plans: bool = False,
    ) -> Callable[[Function], Function]:
        """Declare the decorated function as a handler of the table `topic` ("schema.table"). Raises DeclarationError.

        watch     columns whose change makes an event (default: all); exclude: columns that never enter the log
        fold      level-triggered: only a key's newest event counts, and it replaces a parked older one
        transactional  called with (changes, ctx) and the batch's transaction, instead of (change, ctx)
        formerly  the name it had before, whose cursor it takes over; plans: it asks `ctx.planning`, see `Context`
        active    a column whose change to false or null counts as a delete for the brake; brake=False: it has none
        """
        require_table(topic)
        limits: dict[str, Any] = {"concurrency": concurrency, "shards": shards, "batch": batch}
        limits |= {"timeout": timeout, "attempts": attempts}

        def declare(function: Function) -> Function:
            self._add(
                Handler(
                    name=function.__name__,
                    function=function,
                    subscription=subscribe(function.__name__, topic, watch, exclude, ops, active),
                    fold=fold,
                    transactional=transactional,
                    formerly=formerly,
                    brake=brake,
                    plans=plans,
                    **limits,
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
        alone  refuse a POST while another run is in progress
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
        check_beside(handler, self.handlers)
        self.handlers[handler.name] = handler

    def reconciler(self, name: str, *, handler: str, look: Look) -> Callable[[Find], Find]:
        """Declare the decorated async generator as `hearken reconcile NAME`.

        handler  the name of the handler that fixes a key it is given
        look     the function for a single key, which `hearken explain` shows
        Raises DeclarationError for a name that is taken.
        """

        def declare(find: Find) -> Find:
            if name in self.reconcilers:
                raise DeclarationError(f"reconciler {name!r} is declared twice: rename one")
            self.reconcilers[name] = Reconciler(name, handler, find, look)
            return find

        return declare

    def load(self, modules: Iterable[str]) -> None:
        """Import the modules named (packages with what is directly in them) so that their declarations are known.

        Raises ConfigurationError when a module cannot be found.
        """
        for name in modules:
            import_modules(name)

    @property
    def every_handler(self) -> dict[str, Handler]:
        """Those declared, and the engine's own."""
        return self.handlers | self.engine

    @property
    def areas(self) -> list[str]:
        """The folders of `schema/` that belong to what is declared: that of handlers/NAME is schema/NAME."""
        functions = [r.factory for r in self.resources] + [h.function for h in self.handlers.values()]
        modules = [function.__module__.split(".") for function in functions]
        return sorted({names[1] for names in modules if names[0] == "handlers" and len(names) > 1})


registry = Registry(engine=[CANARY])
on = registry.on
every = registry.every
endpoint = registry.endpoint
resource = registry.resource
readiness = registry.readiness
reconciler = registry.reconciler
diagnosis = registry.diagnosis
stand_in = registry.stand_in
demo = registry.demo
command = registry.command
reads = registry.reads
