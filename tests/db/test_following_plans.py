"""Promise: what the handlers of sessions ask per batch costs by the batch, not by how much was ever sold or played.

On 20,000 purchases, with the plan that a session made when there were none, in a new session, and after ANALYZE.
"""

from __future__ import annotations

import json
from typing import Any, LiteralString

from handlers.sessions import audit, audit_invoice, batch, complete_purchase, completing, following
from handlers.sessions import follow_session as handler
from tests.support.plans import Cost, Parameters, measure, prepare
from worker.postgres.database import Connection, Database
from worker.settings import Settings
from worker.testing import bench

PURCHASES = 20_000
# As a replica, for the sake of time: what it holds is as the application would have made it.
FILL: tuple[LiteralString, ...] = (
    "set session_replication_role = replica",
    """insert into purchases (minutes, payment_status, session_status)
    select 60, case when i % 100 = 1 then 'refunded' else 'completed' end, 'ready' from generate_series(1, 20000) i""",
    "insert into invoices (purchase_id, number, qr_content) select id, 'N-' || id, 'QR-' || id from purchases",
    """insert into active_game_sessions_v2 (purchase_id, minutes_total, status)
    select id, 60, case when id % 10 = 0 then 'completed' else 'active' end from purchases""",
    "insert into session_suspects select id from purchases",
    """insert into session_events (session_id, purchase_id, what, event_id)
    select id, purchase_id, 'insert', id from active_game_sessions_v2""",
    "insert into invoice_audit_log (invoice_id, what, event_id) select id, 'insert', id from invoices",
    "set session_replication_role = origin",
)
FEW = list(range(5001, 5101))
EVENTS = json.dumps(
    [
        {
            "id": 10**6 + i,
            "at": "2026-11-20",
            "op": "update",
            "key": i,
            "old": {},
            "new": {"purchase_id": i},
            "note": None,
        }
        for i in FEW
    ]
)
NAMED: dict[str, Any] = {"purchases": FEW}
CASES: dict[str, tuple[LiteralString, Parameters]] = {
    "lock": (batch.LOCK, (FEW,)),
    "clear": (batch.CLEAR, NAMED),
    "write sessions down": (following.WRITE_DOWN, (EVENTS,)),
    "follow": (following.FOLLOW, NAMED),
    "use up": (following.USE_UP, NAMED),
    "write invoices down": (audit.WRITE_DOWN, (EVENTS,)),
    "without minutes": (completing.WITHOUT_MINUTES, (FEW,)),
    "invoice": (completing.INVOICE, (FEW,)),
    "wait": (completing.WAIT, (FEW,)),
    "close": (completing.CLOSE, (FEW,)),
    "cancel": (completing.CANCEL, (FEW,)),
    "give up": (completing.GIVE_UP, (FEW,)),
}
# Pages: some tens for each of a hundred rows, whatever is written included.
ALLOWED = 6000


async def session(url: str) -> Connection:
    """A worker's session that has made its plans, and keeps them."""
    connection = await Database(Settings.model_validate({"DATABASE_URL": url})).connect()
    await connection.execute("set plan_cache_mode = force_generic_plan")
    for query, parameters in CASES.values():
        await prepare(connection, query, parameters)
    return connection


async def measure_all(connection: Connection) -> dict[str, Cost]:
    """What each statement costs, undone afterwards."""
    await connection.execute("select pg_stat_force_next_flush()")
    return {name: await measure(connection, query, parameters) for name, (query, parameters) in CASES.items()}


async def test_a_batch_costs_by_what_is_in_it(database_url: str) -> None:
    """A hundred events, few pages for each, and no large table read whole, whenever the session made its plan."""
    async with bench(database_url, complete_purchase, handler, audit_invoice) as stage:
        early = await session(database_url)
        for statement in FILL:
            await stage.execute(statement)
        costs = {"planned when empty": await measure_all(early)}
        later = await session(database_url)
        costs["just filled"] = await measure_all(later)
        await stage.execute("analyze")
        last = await session(database_url)
        costs["analyzed"] = await measure_all(last)
        for connection in (early, later, last):
            await connection.close()
    dear = [
        f"{when}: {name} took {cost}"
        for when, of_stage in costs.items()
        for name, cost in of_stage.items()
        if cost.pages > ALLOWED or cost.scanned
    ]
    assert not dear, "\n".join(dear)
