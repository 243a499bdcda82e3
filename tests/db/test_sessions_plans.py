"""Promise: what is asked every minute, at every scan and all day long costs by what it finds, not by how much was sold.

On 20,000 purchases with a session each, most of them over, and as many events in the log, before and after ANALYZE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import scalar_row

from tests.support.arcade import Arcade, open_arcade
from worker import Change, Context
from worker.declare.registry import Registry
from worker.testing import bench

# As a replica, for the sake of time: what it holds is as the application would have made it.
FILL: tuple[LiteralString, ...] = (
    "set session_replication_role = replica",
    """insert into purchases (user_id, package_name, minutes, payment_status, session_status)
    select i, 'An hour', 60, 'completed',
           case when i <= 100 then 'ready' when i <= 200 then 'active' else 'completed' end
    from generate_series(1, 19999) i""",
    "insert into purchases (minutes, payment_status, session_status) values (60, 'completed', 'pending')",
    "insert into invoices (purchase_id, number, qr_content) select id, 'N-' || id, 'QR-' || id from purchases",
    """insert into active_game_sessions_v2 (purchase_id, minutes_total, status, last_countdown_at)
    select id, 60, session_status, sessions_clock() from purchases where id < 20000""",
    """insert into session_events (session_id, purchase_id, what, event_id)
    select id, purchase_id, 'insert', id from active_game_sessions_v2""",
    """insert into hearken.events (topic, op, key, new)
    select 'public.active_game_sessions_v2', 'insert', id, to_json(s) from active_game_sessions_v2 s""",
    "set session_replication_role = origin",
    "select sync_purchase_session_status()",
    "update purchases set session_status = 'paused' where id between 1000 and 1009",
    "update hearken.cursors set done = pg_current_snapshot()",
    "update active_game_sessions_v2 set status = 'cancelled' where id between 1 and 5",
)


class Case(NamedTuple):
    """A query, and how many pages it may look at."""

    query: LiteralString
    pages: int


CASES = {
    "mismatches": Case("select * from purchase_session_overview where sync_status = 'MISMATCH'", 2500),
    "syncing": Case("select * from purchase_session_overview where sync_status = 'SYNCING'", 2500),
    "one purchase": Case("select * from purchase_session_overview where purchase_id = 4711", 2500),
    "underway": Case("select sessions_underway()", 400),
    "one agreement": Case("select * from session_disagreements where purchase_id = any('{1, 2, 3, 4711}')", 100),
    # The first write after ANALYZE also plans its trigger, which asks the catalog whether the table is as compiled.
    "a scan": Case("select activate_invoice('QR-20000')", 450),
    "a second scan": Case("select activate_invoice('N-50')", 300),
    "a pause": Case("select pause_session(150)", 300),
    "the countdown": Case("select countdown_active_sessions()", 6000),
    "expiring": Case("select expire_overdue_invoices()", 300),
    "a summary": Case("select * from session_summary where session_id = 4711", 50),
    "an invoice": Case("select * from active_invoices where number = 'N-4711'", 50),
    "its events": Case("select * from session_events where session_id = 4711 order by id", 50),
    "the last events": Case("select * from session_events order by created_at desc limit 50", 50),
}
LARGE = 5000
SCANNED: LiteralString = """
select s.schemaname || '.' || s.relname from pg_stat_xact_user_tables s where s.seq_tup_read > %s order by 1
"""


def follower() -> tuple[Registry, Any]:
    """The handler's name and its subscription: what captures, and has a cursor."""
    declared = Registry()

    @declared.on("public.active_game_sessions_v2", watch=("status",), transactional=True)
    async def follow_session(changes: Sequence[Change], ctx: Context) -> None:
        pass

    return declared, follow_session


async def cost(arcade: Arcade, case: Case) -> tuple[int, list[str]]:
    """Pages looked at, and the large tables read from their beginning to their end; what was written is undone."""
    connection = arcade.connection
    await connection.execute("select pg_stat_force_next_flush()")
    async with connection.transaction(force_rollback=True), connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(b"explain (analyze, buffers, format json) " + case.query.encode())
        (explained,) = (await cursor.fetchall())[0]
        scanned = await (await cursor.execute(SCANNED, (LARGE,))).fetchall()
    plan = explained["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], scanned


async def test_a_query_costs_by_what_it_finds(database_url: str) -> None:
    """Few pages, no large table read whole; and what is looked for is found, each purchase once."""
    declared, follow = follower()
    async with bench(database_url, follow, declared=declared), open_arcade(database_url) as arcade:
        await arcade.rows("set plan_cache_mode = force_generic_plan")
        for table in ("purchases", "invoices", "active_game_sessions_v2", "session_suspects", "session_events"):
            await arcade.rows(f"alter table {table} set (autovacuum_enabled = off)")
        for statement in FILL:
            await arcade.rows(statement)
        await arcade.later(60)
        dear = await measure(arcade, "just filled")
        await arcade.rows("analyze")
        dear += await measure(arcade, "analyzed")
        assert not dear, "\n".join(dear)
        assert await arcade.rows(
            "select sync_status, count(*) from purchase_session_overview group by 1 order by 1"
        ) == [
            {"sync_status": "MISMATCH", "count": 10},
            {"sync_status": "NO_SESSION", "count": 1},
            {"sync_status": "SYNCED", "count": 19_984},
            {"sync_status": "SYNCING", "count": 5},
        ]
        assert await arcade.call("countdown_active_sessions") == {"counted": 100, "ended": 0, "due": 0}


async def measure(arcade: Arcade, stage: str) -> list[str]:
    """What costs too much."""
    costs = {name: await cost(arcade, case) for name, case in CASES.items()}
    return [
        f"{stage}: {name} looked at {pages} pages (allowed: {CASES[name].pages}), read whole: {scanned}"
        for name, (pages, scanned) in costs.items()
        if scanned or pages > CASES[name].pages
    ]
