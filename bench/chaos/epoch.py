"""One round: faults under load, one after the other; then calm, and the invariants."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

from bench.chaos.faults import DOERS, World, migrate
from bench.chaos.fleet import fleet
from bench.chaos.handlers import TABLES
from bench.chaos.invariants import violations
from bench.chaos.load import load, put_parcel
from bench.chaos.schedule import Epoch, Fault
from bench.chaos.sink import Sink, sink
from bench.chaos.systems import local_stripe
from tests.support.postgres import server_in
from tests.support.proxy import proxy_to
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.things import TABLES as THINGS
from tests.support.things import connect
from tests.support.writing import make_truth

# A cursor is deleted and inserted for each batch: without vacuum it would fill the small disk by itself.
SERVER = {"max_connections": "80", "max_wal_size": "256MB", "autovacuum_naptime": "5s"}
MOVE: LiteralString = """
do $$
declare
    relation record;
begin
    for relation in
        select oid::regclass as name, case relkind when 'i' then 'index' else 'table' end as kind from pg_class
        where relnamespace = 'hearken'::regnamespace and relkind in ('r', 'i') and relname ~ '^(cursors|parked)'
    loop
        execute format('alter %s %s set tablespace small', relation.kind, relation.name);
    end loop;
end $$
"""
# Nothing may take longer to be delivered, whatever went wrong.
RECOVERED_WITHIN = 60.0


@dataclass
class Outcome:
    """What came of a run so far: recovery times by fault, in seconds, and what did not hold."""

    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    kills: int = 0
    working_kills: int = 0


@asynccontextmanager
async def world(directory: Path) -> AsyncIterator[tuple[World, Sink]]:
    """A server, a sink, and a fleet between whom the proxy stands."""
    with _disk(directory / "disk") as disk, server_in(directory / "postgres", SERVER) as server:
        await make_truth(server.url)
        async with await connect(server.url) as connection:
            await connection.execute(TABLES)
            await connection.execute(THINGS)
        async with sink() as orders, proxy_to(server.url) as proxy:
            with local_stripe() as stripe:
                environment = {**stripe, "CHAOS_SINK_PORT": str(orders.port), "HEARKEN_LISTEN_CHECK": "2"}
                await migrate(server.url, environment)
                if disk is not None:
                    await _move(server.url, disk)
                async with fleet(proxy.through(server.url), orders, environment) as workers:
                    yield World(server, proxy, workers, disk), orders


@contextmanager
def _disk(place: Path) -> Iterator[SmallDisk | None]:
    """A small one, where it can be mounted."""
    if os.geteuid() == 0 and shutil.which("mount"):
        with small_disk(place) as disk:
            yield disk
    else:
        yield None


async def _move(url: str, disk: SmallDisk) -> None:
    async with await connect(url) as connection:
        await connection.execute(f"create tablespace small location '{disk.tablespace}'".encode())
        await connection.execute(MOVE)


async def run_epoch(stage: World, orders: Sink, epoch: Epoch, outcome: Outcome) -> None:
    """Do its faults under load, and compare afterwards."""
    before = len(stage.fleet.unasked)
    async with load(stage.server.url, epoch.seed):
        for fault in epoch.faults:
            await asyncio.sleep(fault.pause)
            outcome.recoveries[fault.kind].append(await _hit(stage, orders, fault))
    environment = stage.fleet.environment
    found = await violations(stage.server.url, orders, environment, stage.fleet.unasked[before:])
    outcome.violations += [f"epoch {epoch.number}: {what}" for what in found]
    outcome.kills, outcome.working_kills = stage.fleet.kills, stage.fleet.working_kills


async def _hit(stage: World, orders: Sink, fault: Fault) -> float:
    """Do the fault; returns the seconds from its end to the delivery of what was committed right then."""
    await DOERS[fault.kind](stage, fault)
    ended = time.monotonic()
    async with asyncio.timeout(RECOVERED_WITHIN):
        await orders.wait_for(await put_parcel(stage.server.url))
    return time.monotonic() - ended
