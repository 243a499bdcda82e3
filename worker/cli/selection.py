"""Which past events a command is about: its options, checked against the database and made into a `Choice`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from worker.cli.events import with_topics
from worker.commands.times import check_range, moment
from worker.declare.registry import Registry
from worker.errors import UsageError
from worker.operate.events import Filter, find_events, known_topics
from worker.operate.keys import read_key
from worker.operate.replay import choose_audience
from worker.operate.selection import Selection, take_snapshot
from worker.postgres.database import Connection


@dataclass(frozen=True)
class SelectionOptions:
    """The options as they were given."""

    ids: Sequence[int] = ()
    topic: str | None = None
    key: str | None = None
    op: str | None = None
    since: str | None = None
    until: str | None = None
    handlers: Sequence[str] = ()
    dead: bool = False

    @property
    def words(self) -> dict[str, Any]:
        """The options as JSON; the same words mean the same command."""
        return {name: sorted(set(v)) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def check(self) -> None:
        """Raises UsageError for mistakes that show without a database."""
        if self == SelectionOptions():
            raise UsageError(
                "say which events: their ids, or --topic, --key, --op, --since, --until, --handler or --dead"
            )
        self.to_filter()

    def to_filter(self) -> Filter:
        """The part of it that is about events. Raises as `check`."""
        try:
            since, until = (None if text is None else moment(text) for text in (self.since, self.until))
            check_range(since, until)
        except click.UsageError as error:
            raise UsageError(error.format_message()) from None
        topics = () if self.topic is None else (self.topic,)
        return Filter(topics, sorted(set(self.ids)) or None, self.key, self.op, since, until)


async def select_events(connection: Connection, registry: Registry, asked: SelectionOptions) -> Selection:
    """The events that were asked for, as they are in the log now.

    Raises UsageError for an unknown event, topic or handler, or a handler that does not subscribe to the topic.
    """
    wanted = asked.to_filter()
    if wanted.topics:
        await with_topics(connection, registry, wanted)  # raises
    if wanted.ids:
        wanted = replace(wanted, topics=await _topics_of(connection, wanted))
    audience = await choose_audience(connection, registry.handlers, asked.handlers, wanted.topics)
    if not wanted.topics:
        wanted = replace(wanted, topics=audience.topics)
    if wanted.key is not None:
        wanted = replace(wanted, key=await _key(connection, wanted))
    snapshot = await take_snapshot(connection)
    return Selection(wanted, audience.handlers, audience.named, asked.dead, snapshot)


async def _topics_of(connection: Connection, wanted: Filter) -> list[str]:
    ids = list(wanted.ids or ())
    anywhere = Filter(wanted.topics or await known_topics(connection), ids=ids)
    events = await find_events(connection, anywhere, limit=len(ids))
    if missing := sorted(set(ids) - {event.id for event in events}):
        of_topic = f" of {wanted.topics[0]}" if wanted.topics else ""
        raise UsageError(f"no such event{of_topic}: {', '.join(map(str, missing))}; nothing was replayed")
    return sorted({event.topic for event in events})


async def _key(connection: Connection, wanted: Filter) -> str:
    if len(wanted.topics) != 1:
        raise UsageError("--key needs --topic: keys of different topics are unrelated")
    return await read_key(connection, wanted.topics[0], wanted.key or "")
