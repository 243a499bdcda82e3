"""Promise: what probes and scrapes ask of the database costs little, however long the log is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.served import prepare_by, settings_for
from worker import Change, Context
from worker.declare.registry import Registry
from worker.observe.health import COUNTED
from worker.observe.status import HandlerStatus, read_status
from worker.postgres.database import Connection, Database

PAST, BEHIND = 150_000, 30_000
APPEND = """
insert into hearken.events (topic, op, key, new) select %s, 'insert', i::text, '{"id": 1}' from generate_series(1, %s) i
"""
# What was read of the log so far, by all connections that have said so.
READ = """
select coalesce(sum(seq_tup_read), 0)::int as scanned, coalesce(sum(idx_tup_fetch), 0)::int as rows
from pg_stat_user_tables where schemaname = 'hearken' and relname like 'events%'
"""

registry = Registry()


@registry.on("public.things")
async def note(change: Change, ctx: Context) -> None:
    """Nothing."""


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    """A worker's connection to a log of 330,000 events, of which `note` is behind by 30,000 and has seen 150,000."""
    connection = await Database(settings_for(empty_database_url)).connect()
    try:
        # All by one connection: the statistics of others come when they like.
        await prepare_by(connection, registry)
        await connection.execute(APPEND, ("public.things", PAST))
        await connection.execute(APPEND, ("public.others", PAST))
        await connection.execute("update hearken.cursors set done = pg_current_snapshot()")
        await connection.execute(APPEND, ("public.things", BEHIND))
        await connection.execute("analyze hearken.events")
        yield connection
    finally:
        await connection.close()


async def _measured(connection: Connection) -> tuple[HandlerStatus, int, int]:
    """The status of `note`, and what reading it took: rows read by scanning, and rows fetched by index."""
    before = await _read(connection)
    (status,) = await read_status(connection, registry.handlers, most=COUNTED)
    after = await _read(connection)
    return status, after[0] - before[0], after[1] - before[1]


async def _read(connection: Connection) -> tuple[int, int]:
    await connection.execute("select pg_stat_force_next_flush()")
    row = await (await connection.execute(READ)).fetchone()
    assert row is not None
    return row["scanned"], row["rows"]


async def test_a_long_backlog_is_counted_up_to_a_limit(connection: Connection) -> None:
    """By index, and no further than the limit."""
    status, scanned, rows = await _measured(connection)
    assert status.behind == COUNTED
    assert status.oldest is not None
    assert (scanned, rows <= COUNTED + 10) == (0, True)


async def test_half_an_open_window_is_counted_from_its_middle(connection: Connection) -> None:
    """What was delivered of it is not read again, and counts as delivered."""
    await connection.execute(
        "update hearken.cursors set target = pg_current_snapshot(), max_id = (select max(id) from hearken.events),"
        " last_id = (select max(id) - 5000 from hearken.events)"
    )
    status, scanned, rows = await _measured(connection)
    assert (status.behind, scanned, rows <= 5010) == (5000, 0, True)


async def test_who_is_not_behind_costs_nothing(connection: Connection) -> None:
    """Neither the past of its own topic nor another's is read."""
    await connection.execute("update hearken.cursors set done = pg_current_snapshot()")
    status, scanned, rows = await _measured(connection)
    assert (status.behind, status.oldest) == (0, None)
    assert (scanned, rows <= 10) == (0, True)


async def test_a_transaction_that_was_open_is_counted_when_it_commits(
    connection: Connection, empty_database_url: str
) -> None:
    """Its id is older than the cursor, which did not see it."""
    writer = await Database(settings_for(empty_database_url)).connect()
    async with writer.transaction():
        await writer.execute("insert into things values (1, 'late')")
        await connection.execute("update hearken.cursors set done = pg_current_snapshot()")
        status, *_ = await _measured(connection)
        assert status.behind == 0
    await writer.close()
    status, scanned, rows = await _measured(connection)
    assert (status.behind, scanned, rows <= 10) == (1, 0, True)
