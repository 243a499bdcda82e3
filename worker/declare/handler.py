"""What a handler declares: the options of `@on` and `@every`, checked as far as that needs no database."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.declare.cron import Schedule
from worker.errors import DeclarationError
from worker.postgres.database import Database

CHANGES = ("insert", "update", "delete", "truncate")
# Prefixes of topics whose events do not come from a table.
SOURCES = ("tick/", "request/")
# Prefix of the engine's own handlers and topics. A function's name has no dot, so no other handler can have it.
ENGINE = "hearken."


def of_engine(name: str) -> bool:
    """Whether the handler or topic of that name is the engine's own: run like any other, and left out of lists."""
    return name.startswith(ENGINE)


@dataclass(frozen=True)
class Subscription:
    """One topic a handler subscribes to. `watch` None means every column; `exclude` never enters the log.

    active  the column whose change to false or null counts as a delete for the brake
    """

    topic: str
    ops: tuple[str, ...] = CHANGES
    watch: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    active: str | None = None

    @property
    def is_table(self) -> bool:
        """Whether triggers capture its events, and there are rows to read."""
        return not self.topic.startswith(SOURCES)


class NoBody(BaseModel):
    """The body of an endpoint that asks for none: nothing, or an empty object."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Read:
    """What answers a GET: an `async def` of (query, database) whose first annotation is the query's pydantic model."""

    function: Callable[[Any, Database], Awaitable[Any]]
    query: type[BaseModel]


@dataclass(frozen=True)
class Endpoint:
    """Where and how requests for a handler come in.

    body   what a POST must bring; unknown fields are refused if the model forbids them
    read   answers a GET with data; without it a GET says how to POST
    wait   seconds that a POST waits for the outcome, unless it says otherwise
    alone  a POST is refused while another run is in progress
    rate   POSTs and GETs a minute
    """

    name: str
    path: str
    body: type[BaseModel] = NoBody
    read: Read | None = None
    wait: float = 25.0
    alone: bool = False
    rate: int = 60

    @property
    def topic(self) -> str:
        return f"request/{self.name}"

    def status_path(self, event_id: int | str) -> str:
        """Where the outcome of a run is asked for."""
        return f"{self.path}/runs/{event_id}"


@dataclass(frozen=True)
class Handler:
    """A declared handler. Its name is its identity: in tables, metrics and idempotency keys.

    timeout is in seconds per delivery (of a batch, for a transactional handler); attempts counts tries before dead;
    schedule is what its ticks come from, for one declared with `@every`, and endpoint where its requests do, for one
    declared with `@endpoint`.
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
    brake: bool = True
    schedule: Schedule | None = None
    endpoint: Endpoint | None = None
    plans: bool = False

    @property
    def topic(self) -> str:
        return self.subscription.topic

    @property
    def is_table(self) -> bool:
        """Whether its topic is a table: triggers capture the events, and there are rows to read."""
        return self.subscription.is_table


def refuse(name: str, problem: str) -> DeclarationError:
    """The error that names the handler."""
    return DeclarationError(f"handler {name!r}: {problem}")


def require_table(topic: object) -> None:
    """Raises DeclarationError for `@on` without parentheses, whose topic is the function."""
    if not isinstance(topic, str):
        raise DeclarationError('@on needs to know its table: write @on("schema.table")')


def check_handler(handler: Handler) -> None:
    """Raises DeclarationError for mistakes that show without a database."""
    _check_limits(handler)
    _check_function(handler)
    if handler.is_table:
        _check_subscription(handler.name, handler.subscription)
        _check_active(handler)


def check_beside(handler: Handler, known: Mapping[str, Handler]) -> None:
    """Raises DeclarationError when the handler conflicts with one that is declared already."""
    if (same := known.get(handler.name)) is not None:
        places = " and ".join(f"{h.function.__module__}.{h.function.__qualname__}" for h in (same, handler))
        raise refuse(handler.name, f"is declared twice ({places}); a handler's name is its identity: rename one")
    for one in known.values():
        if not handler.is_table and one.topic == handler.topic:
            raise refuse(handler.name, f"handler {one.name!r} has topic {handler.topic} already: choose another")
        if handler.endpoint and one.endpoint and one.endpoint.path == handler.endpoint.path:
            raise refuse(handler.name, f"handler {one.name!r} has the path {one.endpoint.path} already: choose another")
    for one in (handler, *known.values()):
        if one.formerly in {handler.name, *known}:
            raise refuse(one.name, f"formerly={one.formerly!r}, but a handler of that name is still declared")


def _check_limits(handler: Handler) -> None:
    for option in ("concurrency", "shards", "batch", "timeout", "attempts"):
        if getattr(handler, option) <= 0:
            raise refuse(handler.name, f"{option}= must be more than 0, not {getattr(handler, option)}")
    if handler.fold and handler.transactional and handler.is_table:
        raise refuse(handler.name, "fold= is for external handlers; a transactional one gets the whole batch")
    if handler.plans and not handler.fold:
        raise refuse(handler.name, "plans= is for level-triggered handlers: declare fold=True too")


def _check_function(handler: Handler) -> None:
    if not inspect.iscoroutinefunction(handler.function):
        raise refuse(handler.name, "must be declared with `async def`")
    first = "changes" if handler.transactional else "change"
    try:
        inspect.signature(handler.function).bind(first, "ctx")
    except TypeError:
        raise refuse(handler.name, f"must take ({first}, ctx)") from None


def _check_subscription(name: str, subscription: Subscription) -> None:
    if not re.fullmatch(r"[^.]+\.[^.]+", subscription.topic):
        raise refuse(name, f"topic {subscription.topic!r} must be written schema.table")
    if unknown := set(subscription.ops) - set(CHANGES):
        raise refuse(name, f"ops= has {sorted(unknown)}; known: {list(CHANGES)}")
    if not subscription.ops:
        raise refuse(name, f"ops= is empty; known: {list(CHANGES)}")
    if subscription.watch is not None and not subscription.watch:
        raise refuse(name, "watch= is empty; leave it out to watch every column")
    if both := set(subscription.watch or ()) & set(subscription.exclude):
        raise refuse(name, f"columns {sorted(both)} are in both watch= and exclude=")


def _check_active(handler: Handler) -> None:
    """The brake counts by what is captured, and only for handlers that write outside."""
    subscription = handler.subscription
    active = subscription.active
    if active is None:
        return
    if handler.transactional or not handler.brake:
        raise refuse(handler.name, "active= is for the brake, which is only for external handlers, without brake=False")
    if "update" not in subscription.ops:
        raise refuse(handler.name, f"active={active!r} needs updates, which are not in ops=")
    if subscription.watch is not None and active not in subscription.watch:
        raise refuse(handler.name, f"active={active!r} is not in watch=: its change would make no event")
    if active in subscription.exclude:
        raise refuse(handler.name, f"active={active!r} is in exclude=: it would not enter the log")


def subscribe(
    name: str,
    topic: str,
    watch: Iterable[str] | None,
    exclude: Iterable[str],
    ops: Iterable[str],
    active: str | None = None,
) -> Subscription:
    """The subscription of that handler. Raises DeclarationError for a name where a tuple is meant, or the reverse."""
    for option, value in (("watch", watch), ("exclude", exclude), ("ops", ops)):
        if isinstance(value, str):
            raise refuse(name, f'{option}= is a tuple of names: write ("{value}",)')
    if active is not None and not isinstance(active, str):
        raise refuse(name, 'active= is the name of one column: write active="is_active"')
    if topic.startswith(SOURCES):
        raise refuse(name, f"topic {topic!r} is not a table: declare a schedule with @every, a request with @endpoint")
    return Subscription(topic, tuple(ops), None if watch is None else tuple(watch), tuple(exclude), active)
