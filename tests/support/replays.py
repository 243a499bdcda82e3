"""A replay in one chunk, for tests of what comes of it: the command does the same in many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.declare.handler import Handler
from worker.operate.audit import Actor
from worker.operate.events import Filter
from worker.operate.replay import append_chunk, begin_replay, choose_audience, refuse_unheard
from worker.operate.selection import Selection, count_selected, take_snapshot
from worker.postgres.database import Connection


async def replay_again(
    connection: Connection, declared: Mapping[str, Handler], topic: str, ids: Sequence[int], *names: str
) -> dict[str, int]:
    """Replay events of a topic for the handlers of these names (or all); returns how many each will be given."""
    audience = await choose_audience(connection, declared, names, [topic])
    snapshot = await take_snapshot(connection)
    choice = Selection(Filter([topic], ids=ids), audience.handlers, audience.named, dead=False, snapshot=snapshot)
    count = await count_selected(connection, choice)
    refuse_unheard(choice, count)
    run = await begin_replay(connection, choice, Actor("me@here", "it was lost"), {})
    chunk = await append_chunk(connection, run, 0, len(ids))
    assert chunk is not None
    assert len(chunk.events) == count.events
    return count.handlers
