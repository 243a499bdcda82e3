"""A busy arcade: applications that sell, scan, start, pause, pay back and delete at once, and what must be true after.

Everything they do is made up by chance, also what is refused; their clock is that of `played`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from handlers.sessions import audit_invoice, complete_purchase, count_down, follow_session
from tests.support.waiting import some_moment
from worker.declare.registry import registry
from worker.observe.status import read_status

PURCHASE: LiteralString = "(select id from purchases order by random() limit 1)"
SESSION: LiteralString = "(select id from active_game_sessions_v2 order by random() limit 1)"
# Each with how often it is made.
HANDLERS = (audit_invoice, complete_purchase, count_down, follow_session)
MOVES: dict[LiteralString, int] = {
    "insert into purchases (minutes, payment_status) "
    "select 1 + 60 * random(), 'completed' from generate_series(1, 3)": 3,
    "insert into purchases (minutes) values (30)": 1,
    "insert into purchases (minutes, payment_status, scheduled_for) "
    "select 30, 'completed', sessions_clock() + interval '20 minutes'": 1,
    "update purchases set payment_status = 'completed' where payment_status = 'pending'": 1,
    "update purchases set payment_status = 'refunded' where id = " + PURCHASE: 1,
    "select activate_invoice(number) from (select number from invoices order by random() limit 1) i": 3,
    "select activate_invoice(number) from invoices where status = 'pending' and random() < 0.3": 3,
    "select start_session(" + SESSION + ")": 8,
    "select pause_session(" + SESSION + ")": 4,
    "select resume_session(" + SESSION + ")": 4,
    "select cancel_session(" + SESSION + ")": 1,
    "update active_game_sessions_v2 set status = 'active' where status in ('ready', 'paused') and random() < 0.2": 2,
    "update active_game_sessions_v2 set status = 'paused' where status = 'active' and random() < 0.2": 2,
    "delete from active_game_sessions_v2 where id = " + SESSION: 1,
    "update test_clock set at = at + interval '7 minutes'": 1,
    "select countdown_active_sessions()": 2,
    "select sync_purchase_session_status()": 1,
}
TELL: LiteralString = """
create function told() returns trigger language plpgsql as 'begin perform pg_notify(''told'', ''''); return null; end';
create trigger told after insert on session_events for each statement execute function told();
create trigger told after insert on invoices for each statement execute function told();
create trigger told after insert on invoice_audit_log for each statement execute function told()
"""
WRONG: dict[str, LiteralString] = {
    "out of step": "select * from purchase_session_overview where sync_status in ('MISMATCH', 'SYNCING')",
    "disagree": "select * from session_disagreements",
    "paid, without an invoice": """
        select p.id from purchases p where p.payment_status = 'completed'
        and not exists (select from invoices i where i.purchase_id = p.id)""",
    "paid, and says nothing": "select id from purchases where payment_status = 'completed' and session_status is null",
    "paid back, and can still be played": """
        select p.id from purchases p join active_game_sessions_v2 s on s.purchase_id = p.id
        where p.payment_status = 'refunded' and s.status in ('ready', 'active', 'paused')""",
    "sessions whose events are not written down, or not of the log": """
        select e.id, t.event_id from (select id from hearken.events where topic = 'public.active_game_sessions_v2') e
        full join session_events t on t.event_id = e.id where e.id is null or t.event_id is null""",
    "invoices whose events are not written down, or not of the log": """
        select e.id, t.event_id from (select id from hearken.events where topic = 'public.invoices') e
        full join invoice_audit_log t on t.event_id = e.id where e.id is null or t.event_id is null""",
    "put aside": "select handler, event_id, state, reason, error from hearken.parked",
    "over, with an invoice in play": """
        select i.id from invoices i where i.status = 'active' and not exists (
            select from active_game_sessions_v2 s
            where s.purchase_id = i.purchase_id and s.status in ('ready', 'active', 'paused'))""",
}
STEPS: LiteralString = """
select session_id, before ->> 'status' as former, after ->> 'status' as present from session_events order by event_id
"""


# What an application is told that does what may not be done, or what others do at the same time.
REFUSED = (
    psycopg.errors.CheckViolation,
    psycopg.errors.NoDataFound,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.DeadlockDetected,
)


async def connect(url: str) -> psycopg.AsyncConnection[dict[str, Any]]:
    """An application's connection, in autocommit, rows as dicts."""
    return await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row)


async def play_wildly(url: str, seed: str, transactions: int) -> None:
    """One application: so many transactions of one to three moves, whatever happens to the server meanwhile."""
    chance = random.Random(seed)
    left = transactions
    while left:
        with suppress(psycopg.OperationalError):
            async with await connect(url) as connection:
                while left:
                    left -= 1
                    await _transaction(connection, chance)
        await some_moment(chance, 0.02)  # the server may be away


async def _transaction(connection: psycopg.AsyncConnection[dict[str, Any]], chance: random.Random) -> None:
    with suppress(*REFUSED):
        async with connection.transaction():
            for move in chance.choices(list(MOVES), list(MOVES.values()), k=chance.choice((1, 1, 3))):
                await connection.execute(move)


async def until_quiet(url: str, seconds: float = 60) -> None:
    """Wait until the workers have nothing left to do."""
    handlers = {f.__name__: registry.handlers[f.__name__] for f in HANDLERS}
    async with asyncio.timeout(seconds), await connect(url) as listening, await connect(url) as asking:
        await listening.execute("listen told")
        while any(one.behind or one.running or one.due or one.held for one in await read_status(asking, handlers)):
            async for _ in listening.notifies(timeout=0.2, stop_after=1):
                pass


async def faults(url: str) -> dict[str, list[dict[str, Any]]]:
    """What is not as it must be once all is quiet."""
    async with await connect(url) as connection:
        found = {name: await (await connection.execute(query)).fetchall() for name, query in WRONG.items()}
        steps = await (await connection.execute(STEPS)).fetchall()
    assert len(steps) > 50, "hardly anything has happened"
    found["told in another order than it happened"] = _out_of_order(steps)
    return {name: rows for name, rows in found.items() if rows}


def _out_of_order(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that do not begin where the last of their session ended."""
    last: dict[int, str | None] = {}
    wrong = []
    for step in steps:
        if last.get(step["session_id"]) != step["former"]:
            wrong.append(step)
        last[step["session_id"]] = step["present"]
    return wrong
