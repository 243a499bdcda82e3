"""Two of the project's systems in the same run: spaces, with a local Stripe in a process of its own, and sessions."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import LiteralString

from psycopg import AsyncConnection

from bench.stripe import stripe_process
from tests.support.cli import start
from tests.support.waiting import some_moment

MODULES = ("handlers.spaces", "handlers.sessions")
# More than a worker's own limit, so that a run is not mostly waiting for it.
RPS = "200"
SPACES = 12

PUT_SPACE: LiteralString = """
insert into spaces (id, name, capacity, price_per_hour) values (%(id)s, %(name)s, %(capacity)s, %(price)s)
on conflict (id) do update set name = excluded.name, capacity = excluded.capacity,
    price_per_hour = excluded.price_per_hour, is_active = not spaces.is_active or %(capacity)s > 5
"""
BUY: LiteralString = """
with bought as (
    insert into purchases (user_id, package_name, minutes, amount_cents, payment_status, session_status)
    values (1, 'An hour', 60, 1200, 'completed', 'pending') returning id)
insert into active_game_sessions_v2 (purchase_id, minutes_total) select id, 60 from bought
"""
# A session moves on to a status that may follow.
MOVE: LiteralString = """
update active_game_sessions_v2
set status = case status when 'ready' then 'active' when 'active' then 'paused' else 'active' end
where id in (select id from active_game_sessions_v2 where status in ('ready', 'active', 'paused')
             order by id % 7, id limit 3 for update skip locked)
"""
DISAGREEING: LiteralString = """
select (select count(*) from session_disagreements) + (select count(*) from session_suspects)
"""


@contextmanager
def local_stripe() -> Iterator[dict[str, str]]:
    """The settings that lead to it."""
    process, stripe = stripe_process()
    with process:
        try:
            yield {**stripe, "HEARKEN_STRIPE_RPS": RPS}
        finally:
            process.terminate()


async def write_systems(connection: AsyncConnection, chance: random.Random) -> None:
    """As an application would, for as long as the connection lasts; some of it is rolled back."""
    while True:
        async with connection.transaction(force_rollback=chance.random() < 0.15):
            space = {"id": chance.randrange(SPACES), "capacity": chance.randint(1, 9), "price": chance.randint(20, 30)}
            await connection.execute(PUT_SPACE, {**space, "name": f"Space {chance.randrange(100)}"})
            await connection.execute(chance.choice((BUY, MOVE, MOVE)))
        await some_moment(chance, 0.4)


async def drift(url: str, environment: Mapping[str, str]) -> list[str]:
    """Where spaces and their catalogue disagree, as `hearken reconcile` says."""
    code, out, err = await command(url, MODULES, environment, "reconcile", "spaces", "--json")
    return [f"drift: {one}" for one in json.loads(out)["drift"][:5]] if out else [f"reconcile ended with {code}: {err}"]


async def command(
    url: str, modules: Sequence[str], environment: Mapping[str, str], *arguments: str
) -> tuple[int | None, str, str]:
    """Run `hearken` in a process of its own; its exit code, and what it printed."""
    own = {"HEARKEN_HANDLERS": ",".join(modules), **environment}
    async with start(url, *arguments, **own) as process, asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
