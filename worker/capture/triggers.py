"""Declaration to SQL: the capture triggers of one table, compiled. Pure; `install` compares and installs them.

Per table and operation one AFTER … FOR EACH STATEMENT trigger with transition tables, so a statement over 10,000 rows
is one INSERT … SELECT into the log. Measured against a row-level trigger in bench/README.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from worker.capture.catalog import Column, Table
from worker.declare.handler import Subscription
from worker.errors import DeclarationError
from worker.postgres.locks import channel_of, topic_lock

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

# The doorbell: a writer's NOTIFY takes a cluster-wide lock until its commit is flushed, so it is sent only while
# a worker sleeps, which it shows by holding this advisory lock shared.
FUNCTION = sql.SQL("""create or replace function {function}() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp{settings} as {body}""")
BODY = sql.SQL("""
#variable_conflict use_variable
declare
    topic text := tg_table_schema || '.' || tg_table_name;  -- as it is called now: it may have been renamed
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    {capture}
    if captured > 0 then
        perform case when pg_try_advisory_lock({lock}) then pg_advisory_unlock({lock})::text
                     else pg_notify({channel}, '')::text end;
    end if;
    return null;
end """)
TRIGGER = sql.SQL(
    "create or replace trigger {trigger} after {op} on {table} {transitions}"
    " for each statement execute function {function}()"
)
COMMENT = sql.SQL("comment on trigger {trigger} on {table} is {comment}")

ROWS = sql.SQL("""insert into hearken.events (topic, op, key, {image}, origin, note)
    select topic, {op}, {key}, {row}, origin, note from {rows} r;
    get diagnostics captured = row_count;""")
TRUNCATE = sql.SQL("""insert into hearken.events (topic, op, origin, note) values (topic, 'truncate', origin, note);
    captured := 1;""")
# Rows are paired by primary key. A changed key is an insert of the new one and a delete of the old one; the second
# join that finds the old ones is only made when the first has met a new one.
UPDATE = sql.SQL("""with appended as (
        insert into hearken.events (topic, op, key, old, new, origin, note)
        select topic, case when o.{first} is null then 'insert' else 'update' end, {key},
               case when o.{first} is not null then {former} end, {row}, origin, note
        from new_rows r left join old_rows o on {same_key}
        where {differs}
        returning op)
    select count(*), bool_or(op = 'insert') into captured, rekeyed from appended;
    if rekeyed then
        insert into hearken.events (topic, op, key, old, origin, note)
        select topic, 'delete', {key}, {row}, origin, note
        from old_rows r left join new_rows o on {same_key} where o.{first} is null;
    end if;""")


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
    watched = _watched(table, wanted, excluded)
    ops = [op for op in TRANSITIONS if any(op in s.ops for s in wanted)]
    return [_compile(table, op, watched, excluded) for op in ops]


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


def _watched(table: Table, wanted: list[Subscription], excluded: set[str]) -> list[Column]:
    updates = [s for s in wanted if "update" in s.ops]
    everything = any(s.watch is None for s in updates)
    names = {column for s in updates for column in s.watch or ()}
    return [c for c in table.columns if c.name not in excluded and (everything or c.name in names)]


def function_prefix(topic: str) -> str:
    """How the names of the functions begin that capture for the topic."""
    return f"capture_{hashlib.sha256(topic.encode()).hexdigest()[:12]}_"


def _compile(table: Table, op: str, watched: list[Column], excluded: set[str]) -> Trigger:
    name = f"hearken_{op}"
    function = sql.Identifier("hearken", f"{function_prefix(table.topic)}{op}")
    relation = sql.Identifier(table.schema, table.name)
    body = BODY.format(
        capture=_capture(table, op, watched, excluded),
        lock=sql.Literal(topic_lock(table.topic)),
        channel=sql.Literal(channel_of(table.topic)),
    ).as_string()
    define = FUNCTION.format(function=function, settings=_settings(table, op), body=sql.Literal(body))
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


def _settings(table: Table, op: str) -> sql.Composed:
    """What a writer's session may have set otherwise: keys and rows must always read the same.

    An UPDATE's plan is kept for the session. Made for one row it would be a nested loop, and take hours for 100,000.
    """
    settings = [sql.SQL("enable_nestloop = off")] if op == "update" else []
    if not table.text_is_stable:
        settings += map(sql.SQL, TEXT_SETTINGS)
    return sql.Composed([sql.SQL("\nset ") + setting for setting in settings])


def _capture(table: Table, op: str, watched: list[Column], excluded: set[str]) -> sql.Composed:
    if op == "truncate":
        return sql.Composed([TRUNCATE])
    row = row_image(table, excluded)
    if op != "update":
        image, rows = ("old", "old_rows") if op == "delete" else ("new", "new_rows")
        return ROWS.format(
            image=sql.Identifier(image),
            op=sql.Literal(op),
            key=key_text(table),
            row=row,
            rows=sql.Identifier(rows),
        )
    return UPDATE.format(
        first=sql.Identifier(table.key[0]),
        key=key_text(table),
        row=row,
        former=_former(table, excluded),
        same_key=sql.SQL(" and ").join(_same(c) for c in table.columns if c.name in table.key),
        differs=_differs(table, watched),
    )


def key_text(table: Table) -> sql.Composed:
    """The key of the row `r`, as text."""
    columns = [sql.SQL("r.{}").format(sql.Identifier(column)) for column in table.key]
    if len(columns) == 1:
        return sql.SQL("{}::text").format(columns[0])
    texts = [sql.SQL("{}::text").format(column) for column in columns]
    return sql.SQL("json_build_array({})::text").format(sql.SQL(", ").join(texts))


def row_image(table: Table, excluded: set[str]) -> sql.Composable:
    """The row `r` as JSON, without the excluded columns."""
    if not excluded:
        return sql.SQL("row_to_json(r.*)")
    kept = sql.SQL(", ").join(
        sql.SQL("r.{}").format(sql.Identifier(c.name)) for c in table.columns if c.name not in excluded
    )
    return sql.SQL("(select row_to_json(kept.*) from (select {}) kept)").format(kept)


def _same(column: Column) -> sql.Composed:
    form = "r.{0} = o.{0}" if column.comparable else 'r.{0}::text = o.{0}::text collate "C"'
    return sql.SQL(form).format(sql.Identifier(column.name))


def _distinct(column: Column) -> sql.Composed:
    form = "o.{0} is distinct from r.{0}"
    if not column.comparable:
        form = 'o.{0}::text is distinct from r.{0}::text collate "C"'
    return sql.SQL(form).format(sql.Identifier(column.name))


def _differs(table: Table, watched: list[Column]) -> sql.Composed:
    conditions = [sql.SQL("o.{} is null").format(sql.Identifier(table.key[0])), *map(_distinct, watched)]
    return sql.SQL(" or ").join(conditions)


def _former(table: Table, excluded: set[str]) -> sql.Composed:
    """JSON of the old values that differ, put together as text: most columns do not, and cost nothing this way."""
    members = [
        sql.SQL("case when {} then {} || coalesce({}::text, 'null') end").format(
            _distinct(column), sql.Literal(json.dumps(column.name) + ":"), _as_json(column)
        )
        for column in table.columns
        if column.name not in excluded
    ]
    return sql.SQL("('{{' || array_to_string(array[{}], ',') || '}}')::json").format(sql.SQL(", ").join(members))


def _as_json(column: Column) -> sql.Composed:
    """Readers compare the names of the columns in `old` as jsonb, which a value of type json may not fit into."""
    form = "to_json(o.{})" if column.comparable else "hearken.sound(to_json(o.{}))"
    return sql.SQL(form).format(sql.Identifier(column.name))
