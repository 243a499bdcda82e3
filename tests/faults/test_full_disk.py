"""Promise: nothing goes outside before it is known that it can be recorded: not on a disk that is full, for real."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import prepare_template, server_in
from tests.support.small_disk import SmallDisk, small_disk
from worker import Change, Context
from worker.declare.registry import Registry
from worker.deliver import caution
from worker.testing import Bench, bench

declared = Registry()
delivered: Counter[str] = Counter()
MOVE = """
do $$
declare
    kind text;
    relation regclass;
begin
    for relation, kind in select oid, case relkind when 'i' then 'index' else 'table' end from pg_class
        where relnamespace = 'hearken'::regnamespace and relkind in ('r', 'i') and relname ~ '^(cursors|parked|effects)'
    loop
        execute format('alter %s %s set tablespace small', kind, relation);
    end loop;
end $$
"""


@declared.on("public.rooms")
async def tell(change: Change, ctx: Context) -> None:
    """Something outside."""
    delivered[str(change.key)] += 1


@dataclass(frozen=True)
class Stage:
    """A server whose cursors and parked events are on a small disk; the application's tables are not."""

    url: str
    disk: SmallDisk


@pytest.fixture
async def stage(server_directory: Path) -> AsyncIterator[Stage]:
    delivered.clear()
    with small_disk(server_directory / "disk") as disk, server_in(server_directory / "postgres") as server:
        await asyncio.to_thread(prepare_template, server.url)
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
            await connection.execute(f"create tablespace small location '{disk.tablespace}'".encode())
            await connection.execute("create table rooms (id int primary key)")
            await connection.execute(MOVE.encode())
        yield Stage(server.url, disk)


async def try_to_deliver(opened: Bench) -> None:
    """A few times, as a worker would."""
    for _ in range(3):
        with pytest.raises(psycopg.errors.DiskFull):
            await opened.drain()


async def test_a_new_process_delivers_nothing_while_the_disk_is_full(stage: Stage) -> None:
    """Nor does the next one; with room again each event is delivered, once."""
    async with bench(stage.url, tell, declared=declared) as opened:
        await opened.execute("insert into rooms select generate_series(1, 20)")
    stage.disk.fill()
    for _ in range(2):
        async with bench(stage.url, tell, declared=declared) as opened:
            await try_to_deliver(opened)
    assert delivered == {}
    stage.disk.free()
    async with bench(stage.url, tell, declared=declared) as opened:
        await opened.drain()
    assert delivered == Counter({str(key): 1 for key in range(1, 21)})


@pytest.mark.parametrize("idle", [False, True], ids=["at work", "idle before"])
async def test_a_disk_that_fills_up_has_no_event_delivered_again_and_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, idle: bool
) -> None:
    """At work one batch may be delivered in vain; after a pause not even that."""
    if idle:
        monkeypatch.setattr(caution, "PROVEN_FOR", 0.0)
    async with bench(stage.url, tell, declared=declared) as opened:
        await opened.execute("insert into rooms values (0)")
        await opened.drain()
        stage.disk.fill()
        key = 0
        with pytest.raises(psycopg.errors.DiskFull):  # once the pages that there are have no room
            for key in range(1, 1000):
                await opened.execute("insert into rooms values (%s)", (key,))
                await opened.drain()
        await try_to_deliver(opened)
        assert delivered == Counter({str(number): 1 for number in range(key if idle else key + 1)})
        stage.disk.free()
        await opened.drain()
        assert delivered[str(key)] == (1 if idle else 2)
