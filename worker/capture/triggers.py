"""Declaration to SQL: the capture triggers of one table, compiled. Pure; `install` compares and installs them.

Per table and operation one AFTER … FOR EACH STATEMENT trigger with transition tables, so a statement over 10,000 rows
is one INSERT … SELECT into the log. The writer's own statement comes first: what `body` compiles cannot fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from worker.capture.body import body
from worker.capture.catalog import Table
from worker.capture.statements import Captured
from worker.declare.handler import Subscription
from worker.errors import DeclarationError

# With what a session may write floats, times, intervals and bytes its own way.
TEXT_SETTINGS: tuple[LiteralString, ...] = (
    "timezone = 'UTC'",
    "datestyle = 'ISO'",
    "intervalstyle = 'postgres'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
)
TRANSITIONS = {
    "insert": "referencing new table as new_rows",
    "update": "referencing old table as old_rows new table as new_rows",
    "delete": "referencing old table as old_rows",
    "truncate": "",
}

FUNCTION = sql.SQL("""create or replace function {function}() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp{settings} as {body}""")
TRIGGER = sql.SQL(
    "create or replace trigger {trigger} after {op} on {table} {transitions}"
    " for each statement execute function {function}()"
)
COMMENT = sql.SQL("comment on trigger {trigger} on {table} is {comment}")


@dataclass(frozen=True)
class Trigger:
    """A compiled capture trigger: its name on its table, the statements that install it, and their hash."""

    table: Table
    op: str
    name: str
    statements: tuple[str, ...]
    hash: str


def compile_triggers(table: Table, subscriptions: Iterable[Subscription]) -> list[Trigger]:
    """The triggers that capture for all `subscriptions` of one table together.

    Raises DeclarationError when they contradict each other or name columns the table does not have.
    """
    wanted = list(subscriptions)
    _check_columns(table, wanted)
    excluded = hidden_columns(table, wanted)
    watched = _watched(table, wanted)
    ops = [op for op in TRANSITIONS if any(op in s.ops for s in wanted)]
    return [_compile(Captured(table, op, watched, excluded)) for op in ops]


def _check_columns(table: Table, wanted: list[Subscription]) -> None:
    known = {column.name for column in table.columns}
    excluded = {column for s in wanted for column in s.exclude}
    for option in ("watch", "exclude"):
        named = {column for s in wanted for column in getattr(s, option) or ()}
        if unknown := sorted(named - known):
            raise DeclarationError(f"{option}= names {unknown}, but table {table.topic} has {sorted(known)}")
    active = {s.active for s in wanted if s.active is not None}
    if unknown := sorted(active - known):
        raise DeclarationError(f"active= names {unknown}, but table {table.topic} has {sorted(known)}")
    watched = active.union(*(s.watch or () for s in wanted))
    if computed := sorted(_virtual(table) & watched):
        raise DeclarationError(
            f"watch= names {computed} of {table.topic}, which are computed when read: watch what they are computed from"
        )
    if hidden := sorted(excluded & watched):
        raise DeclarationError(f"{hidden} of {table.topic} are watched by one handler and excluded by another")
    if hidden := sorted(excluded & set(table.key)):
        raise DeclarationError(f"{hidden} of {table.topic} are its primary key and cannot be excluded")


def hidden_columns(table: Table, wanted: Iterable[Subscription]) -> set[str]:
    """The columns that do not enter the log."""
    return {column for s in wanted for column in s.exclude} | _virtual(table)


def _virtual(table: Table) -> set[str]:
    return {column.name for column in table.columns if column.virtual}


def _watched(table: Table, wanted: list[Subscription]) -> list[str] | None:
    """The columns whose change makes an event of an update; None for any, even one that does not enter the log."""
    updates = [s for s in wanted if "update" in s.ops]
    if any(s.watch is None and not s.exclude for s in updates):
        return None
    everything = [s for s in updates if s.watch is None]
    names = {column for s in updates for column in s.watch or ()}
    for s in everything:
        names |= {c.name for c in table.columns if c.name not in s.exclude}
    return [c.name for c in table.columns if c.name in names and not c.virtual]


def function_prefix(topic: str) -> str:
    """How the names of the functions begin that capture for the topic."""
    return f"capture_{hashlib.sha256(topic.encode()).hexdigest()[:12]}_"


def _compile(captured: Captured) -> Trigger:
    table, op = captured.table, captured.op
    name = f"hearken_{op}"
    function = sql.Identifier("hearken", f"{function_prefix(table.topic)}{op}")
    relation = sql.Identifier(table.schema, table.name)
    settings = () if table.text_is_stable else TEXT_SETTINGS
    define = FUNCTION.format(
        function=function,
        settings=sql.Composed([sql.SQL("\nset ") + sql.SQL(setting) for setting in settings]),
        body=sql.Literal(body(captured)),
    )
    create = TRIGGER.format(
        trigger=sql.Identifier(name),
        op=sql.SQL(op),
        table=relation,
        transitions=sql.SQL(TRANSITIONS[op]),
        function=function,
    )
    statements = (define.as_string(), create.as_string())
    digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    comment = COMMENT.format(trigger=sql.Identifier(name), table=relation, comment=sql.Literal(f"hearken {digest}"))
    return Trigger(table, op, name, (*statements, comment.as_string()), digest)
