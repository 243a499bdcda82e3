"""What a query of the engine costs, as the worker runs it: prepared, in a worker's session, on a large log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, LiteralString

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.pq import ExecStatus
from psycopg.rows import dict_row, scalar_row

Parameters = Mapping[str, Any] | Sequence[Any]

LARGE = 1000  # rows: what is smaller may be read whole
SCANNED: LiteralString = """
select s.relname::text from pg_stat_xact_user_tables s
where s.schemaname in ('hearken', 'public') and s.seq_tup_read > %s
"""
PREPARED: LiteralString = """
select name, parameter_types::text[] as types from pg_prepared_statements where statement = %s
"""
PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s")


@dataclass(frozen=True)
class Cost:
    """Pages looked at, tables of which many rows were read one after the other, rows returned, and the plan."""

    pages: int
    scanned: tuple[str, ...]
    rows: int
    plan: str

    def __str__(self) -> str:
        return f"{self.pages} pages, {self.rows} rows, read whole: {', '.join(self.scanned) or 'nothing'}\n{self.plan}"


async def prepare(connection: AsyncConnection[Any], query: LiteralString, parameters: Parameters) -> None:
    """Let the session make a plan for the query and keep it. What the query does is undone."""
    # psycopg must not hear of the ROLLBACK: it would forget what is prepared.
    _command(connection, "begin")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters, prepare=True)
    _command(connection, "rollback")


async def measure(connection: AsyncConnection[Any], query: LiteralString, parameters: Parameters) -> Cost:
    """Run the prepared query by the plan that the session keeps for it, and undo what it did."""
    statement = await _explain(connection, query, parameters)
    _command(connection, "begin")
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (explained,) = (await (await cursor.execute(statement)).fetchall())[0]
        scanned = await (await cursor.execute(SCANNED, (LARGE,))).fetchall()
    _command(connection, "rollback")
    plan = explained["Plan"]
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return Cost(pages, tuple(scanned), plan["Actual Rows"], _outline(plan))


def _command(connection: AsyncConnection[Any], command: str) -> None:
    result = connection.pgconn.exec_(command.encode())
    assert result.status == ExecStatus.COMMAND_OK, result.error_message


async def _explain(connection: AsyncConnection[Any], query: LiteralString, parameters: Parameters) -> bytes:
    names = list(dict.fromkeys(PLACEHOLDER.findall(query))) if isinstance(parameters, Mapping) else []
    numbers = count(1)
    text = PLACEHOLDER.sub(lambda m: f"${names.index(m[1]) + 1 if names else next(numbers)}", query)
    values = [parameters[name] for name in names] if isinstance(parameters, Mapping) else parameters
    async with connection.cursor(row_factory=dict_row) as cursor:
        variants = await (await cursor.execute(PREPARED, (text.replace("%%", "%"),))).fetchall()
    # psycopg prepares a statement anew for numbers of another size.
    (prepared,) = (v for v in variants if all(map(_fits, values, v["types"])))
    mogrify = AsyncClientCursor(connection).mogrify
    arguments = [f"{mogrify('%s', (v,))}::{kind}" for v, kind in zip(values, prepared["types"], strict=True)]
    name = prepared["name"]  # psycopg's own: _pg3_ and a number
    return f"explain (analyze, buffers, format json) execute {name} ({', '.join(arguments)})".encode()


def _fits(value: Any, kind: str) -> bool:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return True
    largest = max(map(abs, numbers))
    return kind.removesuffix("[]") == ("smallint" if largest < 2**15 else "integer" if largest < 2**31 else "bigint")


def _outline(plan: dict[str, Any], depth: int = 0) -> str:
    what = " ".join(str(plan[k]) for k in ("Node Type", "Index Name", "Relation Name", "Alias") if k in plan)
    counts = f"rows={plan.get('Actual Rows')} loops={plan.get('Actual Loops')} pages={plan.get('Shared Hit Blocks')}"
    removed = f" removed={plan['Rows Removed by Filter']}" if "Rows Removed by Filter" in plan else ""
    if plan.get("Actual Loops") == 0:
        return ""
    lines = [f"{'  ' * depth}{what} {counts}{removed}"]
    return "\n".join(filter(None, [*lines, *(_outline(child, depth + 1) for child in plan.get("Plans", []))]))
