"""The stage of a demo: passed to each play that is declared with `@demo`. `playing` opens it.

A play runs statements as an application would, waits for the handlers, and verifies the result elsewhere; the stage
prints each step as it happens. Anything unexpected ends the demo with DemoFailed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypeVar

import click
from psycopg.rows import DictRow

from worker.app import App
from worker.change import Change
from worker.deliver.consumer import Consumer
from worker.dev import story
from worker.errors import HearkenError
from worker.postgres.database import Connection

T = TypeVar("T")

CAPTURED: LiteralString = """
select id, at, topic, op, key, old::text as old_json, new::text as new_json
from hearken.events where tx = pg_current_xact_id() order by id
"""
CLOCK: LiteralString = "select clock_timestamp() as at"
# A handler is done with an event when all its shards have passed it, and it is not parked.
STANDING: LiteralString = """
select clock_timestamp() as at, seen.passed, aside.state, aside.why
from (select bool_and(hearken.passed(e.tx, e.id, c.done, c.target, c.last_id))
      from hearken.events e cross join hearken.cursors c
      where e.id = any(%(events)s) and c.handler = %(handler)s) seen (passed)
left join lateral (select p.state, concat_ws(', ', 'event ' || p.event_id || ' is ' || p.state, p.reason, p.error)
      from hearken.parked p where p.event_id = any(%(events)s) and p.handler = %(handler)s
      order by p.state = 'dead' desc limit 1) aside (state, why) on true
"""
EFFECTS: LiteralString = """
select step, object_id, changed, ended_at from hearken.effects
where event_id = any(%(events)s) and handler = %(handler)s and state = 'done' order by id
"""


class DemoFailed(HearkenError):
    """Something did not happen, or not as expected; the message says what."""


@dataclass(frozen=True)
class Commit:
    """A committed statement: when, by the database's clock, and what was captured of it."""

    at: datetime
    events: list[Change]


class Stage:
    """What a play works with. It prints every step for the person who watches.

    stand_ins   names of the outside systems that a local server stands in for
    connection  an application's, in autocommit, for statements that need not be printed
    """

    def __init__(self, app: App, stand_ins: frozenset[str], connection: Connection) -> None:
        self.stand_ins = stand_ins
        self.connection = connection
        self.waiting_for = "its first statement"
        self._app = app

    def use(self, resource: Callable[..., AsyncIterator[T]]) -> T:
        """The worker's value of a `@resource` factory."""
        value: T = self._app.services.resources[resource]
        return value

    def say(self, line: str = "") -> None:
        """Print a line."""
        click.echo(line)

    async def run(self, statement: str) -> Commit:
        """Execute a statement as an application would, and commit it. Raises DemoFailed when nothing is captured."""
        self.say(f"\n{statement}")
        async with self.connection.transaction():
            await self.connection.execute(statement.encode())
            rows = await (await self.connection.execute(CAPTURED)).fetchall()
        commit = Commit((await self._one(CLOCK))["at"], [Change(**row) for row in rows])
        if not commit.events:
            raise DemoFailed("the statement was committed, but no event of it was captured")
        for change in commit.events:
            self._tell("captured", *story.of_event(change, self._watched(change.topic)))
        return commit

    async def delivered(self, commit: Commit, handler: str) -> None:
        """Wait until a handler is done with what was captured, and print what it did outside.

        Raises DemoFailed when an event is dead.
        """
        consumers = [c for c in self._app.consumers if c.handler.name == handler]
        if not consumers:
            raise DemoFailed(f"there is no handler named {handler}")
        events = [change for change in commit.events if change.topic == consumers[0].handler.topic]
        asked = {"events": [change.id for change in events], "handler": handler}
        done_at = await self._done(consumers, asked)
        for effect in await (await self.connection.execute(EFFECTS, asked)).fetchall():
            self._tell("effect", *story.of_effect(effect, commit.at))
        self._tell("delivered", story.of_delivery(handler, events, done_at, commit.at))

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Print that something was verified. Raises DemoFailed when it is not what is wanted."""
        if found != wanted:
            raise DemoFailed(f"{what} should be {wanted}, but is {found}")
        self._tell("verified", f"{what}: {found}")

    def _tell(self, label: str, *lines: str) -> None:
        for line in filter(None, lines):
            self.say(story.labelled(label, line))
            label = ""

    def _watched(self, topic: str) -> set[str] | None:
        """The columns that some handler of the topic watches; None when one watches all."""
        subscriptions = [h.subscription for h in self._app.registry.handlers.values() if h.topic == topic]
        if any(s.watch is None for s in subscriptions):
            return None
        return {column for s in subscriptions for column in s.watch or ()}

    async def _done(self, consumers: Sequence[Consumer], asked: dict[str, Any]) -> datetime:
        while True:
            turns = [asyncio.ensure_future(consumer.progress.next.wait()) for consumer in consumers]
            try:
                standing = await self._one(STANDING, asked)
                if standing["state"] == "dead":
                    raise DemoFailed(f"{asked['handler']}: {standing['why']}")
                if standing["passed"] and standing["state"] is None:
                    at: datetime = standing["at"]
                    return at
                trouble = standing["why"] or next(filter(None, (c.progress.trouble for c in consumers)), None)
                self.waiting_for = (
                    f"{asked['handler']} to be done with {asked['events']} ({trouble or 'not there yet'})"
                )
                await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for turn in turns:
                    turn.cancel()

    async def _one(self, query: LiteralString, asked: dict[str, Any] | None = None) -> DictRow:
        row = await (await self.connection.execute(query, asked)).fetchone()
        assert row is not None  # noqa: S101  # these select one row
        return row
