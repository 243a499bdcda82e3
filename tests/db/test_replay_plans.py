"""Promise: a chunk of a replay costs by what it appends, not by how long the log is."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import AsyncClientCursor
from psycopg.rows import dict_row, scalar_row

from tests.db.test_plans import FILL, make_log
from tests.support.watched import declare
from worker.operate.audit import Actor
from worker.operate.events import Filter
from worker.operate.replay import NEWEST, append_chunk, begin_replay
from worker.operate.selection import Selection, take_snapshot
from worker.operate.throttle import WAITING
from worker.postgres.database import Connection, Database
from worker.settings import Settings


@pytest.fixture
async def connection(database_url: str) -> Any:
    """A log of 300,000 events, of which 100,000 were put aside; never analyzed."""
    opened = await Database(Settings.model_validate({"DATABASE_URL": database_url})).connect()
    await make_log(opened)
    for statement in FILL:
        await opened.execute(statement)
    yield opened
    await opened.close()


async def pages(connection: Connection, query: str, values: dict[str, Any]) -> int:
    """How many pages a query looks at."""
    text = AsyncClientCursor(connection).mogrify(query.encode(), values)
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(f"explain (analyze, buffers, format json) {text}".encode())
        ((explained,),) = await cursor.fetchall()
    plan = explained["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_chunk_reads_what_it_appends(connection: Connection) -> None:
    """From the middle of a long topic, and from the dead of many."""
    handlers = list(declare("public.busy", "busy").handlers.values())
    await take_snapshot(connection)
    snapshot = "200000:200000:"  # the log's numbers are made up
    for dead, most in ((False, 400), (True, 12_000)):
        choice = Selection(Filter(["public.busy"]), handlers, True, dead, snapshot)
        cost = await pages(connection, f"select * from ({choice.query}) c", choice.part(150_000 * (not dead), 100))
        assert cost <= most, f"dead={dead}: {cost} pages"
    run = await begin_replay(
        connection, Selection(Filter(["public.busy"]), handlers, True, False, snapshot), Actor("me"), {}
    )
    chunk = await append_chunk(connection, run, 150_000, 100)
    assert chunk is not None
    newest = chunk.events[-1]
    assert await pages(connection, NEWEST, {"topics": ["public.busy"], "run": run.id}) <= 50
    waiting = {"names": ["busy"], "shards": [1], "id": newest["id"], "tx": "150000"}
    assert await pages(connection, WAITING, waiting) <= 200
    async with connection.cursor(row_factory=dict_row) as cursor:
        assert [row["name"] for row in await (await cursor.execute(WAITING, waiting)).fetchall()] == ["busy"]
