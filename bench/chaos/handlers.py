"""What the workers run: each event into a ledger that takes none twice, and as an order to the sink.

The ledger's unique key and its running total are written in the batch's transaction, so each must be there exactly
once. The sink may get an order twice; the first of each event must come in the order of its key.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import LiteralString

import aiohttp

from worker import Change, Context, on

TABLES: LiteralString = """
create table if not exists parcels (id bigint primary key, version integer not null);
create table if not exists ledger (
    event bigint primary key, topic text not null, key text not null, op text not null, version integer);
create table if not exists ledger_total (events bigint not null);
insert into ledger_total select 0 where not exists (select from ledger_total)
"""
POST: LiteralString = """
with posted as (
    insert into ledger select * from unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[]) returning 1)
update ledger_total set events = events + (select count(*) from posted)
"""
BATCH = int(os.environ.get("CHAOS_BATCH", "20"))

# Another version of the program asks for less, which is the same here: each change is one of this column.
WATCH = ("version",) if os.environ.get("CHAOS_VERSION") == "2" else None


async def _post(changes: Sequence[Change], ctx: Context) -> None:
    versions = [(c.new or c.old or {}).get("version") for c in changes]
    columns = ([c.id for c in changes], [c.topic for c in changes], [c.key for c in changes], [c.op for c in changes])
    await ctx.transaction.execute(POST, (*columns, versions))


@on("public.things", transactional=True, batch=BATCH)
async def post_things(changes: Sequence[Change], ctx: Context) -> None:
    """Post each event to the ledger."""
    await _post(changes, ctx)


@on("public.parcels", transactional=True, batch=BATCH)
async def post_parcels(changes: Sequence[Change], ctx: Context) -> None:
    """Post each event to the ledger."""
    await _post(changes, ctx)


async def _order(change: Change) -> None:
    row = change.new or change.old or {}
    order = {"topic": change.topic, "key": change.key, "event": change.id, "op": change.op, "pid": os.getpid()}
    url = f"http://127.0.0.1:{os.environ['CHAOS_SINK_PORT']}/orders"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={**order, "version": row.get("version")}) as r,
    ):
        r.raise_for_status()


@on("public.things", batch=BATCH, concurrency=5, shards=2, watch=WATCH)
async def order_things(change: Change, ctx: Context) -> None:
    """Give the sink an order."""
    await _order(change)


@on("public.parcels", batch=BATCH, concurrency=10)
async def order_parcels(change: Change, ctx: Context) -> None:
    """Give the sink an order."""
    await _order(change)
