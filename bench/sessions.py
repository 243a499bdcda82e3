"""The sessions system: status changes drained by a real worker, the countdown of a full arcade, the overview of many.

Its tables, triggers and handlers are those that `hearken migrate` installs, capture included.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from bench.figure import Figure, at_least, at_most
from bench.stage import server
from bench.working import working
from worker.declare.registry import Registry, registry
from worker.install import migrations
from worker.install.migrate import migrate

PURCHASES: LiteralString = """
insert into purchases (user_id, package_name, minutes, amount_cents, payment_status, session_status)
select i, 'An hour', 60, 1200, 'completed', 'pending' from generate_series(1, %s) i
"""
SESSIONS: LiteralString = """
insert into active_game_sessions_v2 (purchase_id, minutes_total) select id, 60 from purchases
"""
START: LiteralString = "update active_game_sessions_v2 set status = 'active'"
# A minute is over: of sessions that have long to go, and of sessions that have only this one left.
MINUTE_OVER: LiteralString = """
update active_game_sessions_v2
set status = 'active', last_countdown_at = now() - interval '61 s', ended_at = null, minutes_used = 0,
    minutes_total = %s
"""
COUNTDOWN: LiteralString = "select counted, ended from countdown_active_sessions()"
SUSPECTS: LiteralString = "select count(*) from session_suspects"
DISAGREEING: LiteralString = "select count(*) from session_disagreements"
MISMATCHES: LiteralString = "select * from purchase_session_overview where sync_status = 'MISMATCH'"
DISAGREE: LiteralString = "update purchases set session_status = 'cancelled' where id % 10000 = 7"
AGREE: LiteralString = "update purchases set session_status = 'ready'"


def declared() -> Registry:
    """The handlers of sessions, without those of other systems."""
    registry.load(["handlers.sessions"])
    chosen = Registry()
    chosen.handlers = {
        n: h for n, h in registry.handlers.items() if h.function.__module__.startswith("handlers.sessions")
    }
    return chosen


@contextmanager
def arcade(url: str, purchases: int) -> Iterator[psycopg.Connection]:
    """A connection in autocommit to a fresh arcade with so many purchases, each with a session that is ready."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema if exists hearken cascade")
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
        asyncio.run(_migrate(url))
        connection.execute(PURCHASES, (purchases,))
        connection.execute(SESSIONS)
        connection.execute("vacuum analyze")
        yield connection


async def _migrate(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await migrations.apply(connection, migrations.find_migrations([]))
        await migrate(connection, declared())


def median(seconds: Callable[[], float], rounds: int = 5) -> float:
    """The median of so many rounds, in milliseconds."""
    return statistics.median(seconds() for _ in range(rounds)) * 1000


def countdown(connection: psycopg.Connection, left: int) -> float:
    """Seconds to count down all sessions, with `left` minutes bought, to the end of its commit."""
    # As a replica, so that they may be active again.
    connection.execute("set session_replication_role = replica")
    connection.execute(MINUTE_OVER, (left,))
    connection.execute("set session_replication_role = origin")
    connection.execute("truncate hearken.events, session_suspects")
    connection.execute("vacuum analyze active_game_sessions_v2")
    started = time.perf_counter()
    row = connection.execute(COUNTDOWN).fetchone()
    took = time.perf_counter() - started
    assert row is not None, "no answer"
    assert (row[1] == row[0]) == (left == 1), row
    return took


def measure_countdown(url: str, sessions: int) -> list[Figure]:
    """The countdown of so many active sessions: none of them ending, all of them ending."""
    with arcade(url, sessions) as connection:
        connection.execute(START)
        calm = median(lambda: countdown(connection, 60))
        end = median(lambda: countdown(connection, 1))
    name = f"countdown of {sessions:,} active sessions"
    return [at_most(f"{name}, none ending", calm, 2000, "ms"), at_most(f"{name}, all ending", end, 2000, "ms")]


def overview(connection: psycopg.Connection) -> float:
    """Seconds to ask for the mismatches."""
    started = time.perf_counter()
    connection.execute(MISMATCHES).fetchall()
    return time.perf_counter() - started


def measure_overview(url: str, purchases: int) -> Figure:
    """How long the mismatches of so many purchases take to find: 0.01 % of them."""
    with arcade(url, purchases) as connection:
        connection.execute("truncate hearken.events")
        connection.execute(AGREE)
        connection.execute("select sync_purchase_session_status()")
        connection.execute("select sync_purchase_session_status()")
        connection.execute(DISAGREE)
        connection.execute("vacuum analyze")
        found = connection.execute(MISMATCHES).fetchall()
        assert len(found) == purchases // 10_000, len(found)
        took = median(lambda: overview(connection))
    return at_most(f"{len(found)} mismatches among {purchases:,} purchases", took, 200, "ms")


async def drain(url: str, connection: psycopg.Connection) -> float:
    """Seconds that a worker takes, from its start, until every purchase agrees with its session."""
    started = time.perf_counter()
    async with working(url, declared()):
        while connection.execute(SUSPECTS).fetchone() != (0,):
            await asyncio.sleep(0.2)
    return time.perf_counter() - started


def measure_drain(url: str, changes: int) -> Figure:
    """How many changes of status a second reach purchases and session_events."""
    with arcade(url, changes) as connection:
        connection.execute("truncate hearken.events, session_suspects")
        connection.execute(START)
        connection.execute("vacuum analyze")
        took = asyncio.run(drain(url, connection))
        assert connection.execute(DISAGREEING).fetchone() == (0,), "purchases disagree with their sessions"
    return at_least(f"{changes:,} status changes of sessions drained", changes / took, 8000, "events/s")


def figures(*, quick: bool = False) -> list[Figure]:
    """Drain, countdown, overview."""
    changes, purchases = (10_000, 100_000) if quick else (100_000, 1_000_000)
    with server() as running:
        return [
            measure_drain(running.url, changes),
            *measure_countdown(running.url, changes),
            measure_overview(running.url, purchases),
        ]
