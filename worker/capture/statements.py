"""The statements by which a capture trigger appends rows to the log. Pure; `body` puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from worker.capture.catalog import Table
from worker.capture.image import is_whole

# Values stored in more bytes than this are written carefully: compressed, they may be some hundred times as large, and
# JSON of more than 1 GB is an error.
LARGE = 65_536
SAID = sql.SQL("nullif(current_setting('hearken.origin', true), '')")
# A column that the table has lost is found in `gone` instead, where no value equals that of the other image.
SIDE = sql.SQL("""(select b.*{part} from {gone} cross join lateral (
            select {key} collate "C" as k, {image} as image, {small} as small{compared} from {rows} x) b{parts})""")
# For an update: the watched columns, compared as they are stored, which every type can; and the rest, which mostly does
# not differ and is then left out of `old`.
ANY: LiteralString = ", row(x.*)::record as watched"
WATCHED = sql.SQL(", row({watched})::record as watched, row({unwatched})::record as unwatched, {numbered}")
PARTS = sql.SQL(" cross join lateral (select {named}) w")
# A whole row is carried as it is, and its JSON built for an event alone. (Of a column named x, `x.*` is still the row.)
BUILT = sql.SQL("{}.image")
ROW_BUILT = sql.SQL("pg_catalog.row_to_json({}.image)")
FORMER = sql.SQL("case when o.unwatched operator(pg_catalog.*<>) r.unwatched then {} else o.part end")
ROWS = sql.SQL("""insert into hearken.events (topic, op, key, {column}, origin, note{more})
        select {topic}, {op}, r.k, {present}, {said}, {note}{left_out}
        from {side} r where {chosen}""")
ONE = sql.SQL("""insert into hearken.events (topic, op, key, old, new, origin, note)
        select {topic}, 'update', r.k, {former}, {present}, {said}, {note}
        from {old} o cross join {new} r
        where case when o.k = r.k then {differs} and {chosen}
                   else set_config('hearken.many', 'on', true) is null end""")
# Rows are paired by key, with a full join: it cannot become a nested loop, whatever the rows were when it was planned.
MANY = sql.SQL("""insert into hearken.events (topic, op, key, old, new, origin, note{more})
        select {topic}, case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), {former}, {present}, (select {said}), (select {note}){left_out}
        from {old} o full join {new} r on o.k = r.k
        where (o.k is null or r.k is null or {differs}) and {chosen}""")


@dataclass(frozen=True)
class Captured:
    """What one trigger captures: the operation, the columns that make an event of an update (None: any), and those that
    stay out of the log."""

    table: Table
    op: str
    watched: list[str] | None
    excluded: set[str]

    @property
    def kept(self) -> list[str] | None:
        """The columns that may enter the log; None for all that the table has by then."""
        names = [c.name for c in self.table.columns if c.name not in self.excluded]
        return names if {c.name for c in self.table.columns if not c.virtual} - set(names) else None


def relation(table: Table) -> sql.Literal:
    return sql.Literal(sql.Identifier(table.schema, table.name).as_string())


def statement(
    form: sql.SQL, captured: Captured, chosen: sql.Composable, row: dict[str, sql.Composable], built: sql.SQL = BUILT
) -> sql.Composed:
    """One INSERT into the log. `row` says how a row's parts are written, `chosen` which rows, `built` its JSON."""
    old, new = _side(captured, "old_rows", "null", row), _side(captured, "new_rows", "''", row)
    old_image = built.format(sql.SQL("o"))
    return form.format(
        **row,
        op=sql.Literal(captured.op),
        column=sql.SQL("old" if captured.op == "delete" else "new"),
        side=old if captured.op == "delete" else new,
        old=old,
        new=new,
        said=SAID,
        differs=sql.SQL("o.watched operator(pg_catalog.*<>) r.watched"),
        chosen=chosen,
        former=old_image if captured.watched is None else FORMER.format(old_image),
        present=built.format(sql.SQL("r")),
    )


def _side(captured: Captured, rows: LiteralString, lost: LiteralString, row: dict[str, sql.Composable]) -> sql.Composed:
    """The rows of one transition table. `lost` is the value of a column that the table no longer has."""
    named = _named(captured)
    columns = [
        sql.SQL(lost + "::text as {}").format(sql.Identifier(c.name)) for c in captured.table.columns if c.name in named
    ]
    return SIDE.format(
        gone=sql.SQL("(select {}) gone").format(sql.SQL(", ").join(columns)),
        key=row["key"],
        image=row["image"],
        small=_small(captured),
        rows=sql.SQL(rows),
        **_compared(captured),
    )


def _compared(captured: Captured) -> dict[str, sql.Composable]:
    """What of an update's rows is compared, and the watched columns as a row of their own."""
    nothing = {"compared": sql.SQL(""), "parts": sql.SQL(""), "part": sql.SQL("")}
    if captured.op != "update":
        return {**nothing}
    if captured.watched is None:
        return {**nothing, "compared": sql.SQL(ANY)}
    names = [sql.Identifier(name) for name in captured.watched]
    places = [sql.Identifier(f"w{number}") for number in range(len(names))]
    left = captured.excluded.union(captured.watched)
    rest = [sql.Identifier(c.name) for c in captured.table.columns if c.name not in left]
    numbered = [sql.SQL("{} as {}").format(*pair) for pair in zip(names, places, strict=True)]
    named = [sql.SQL("b.{} as {}").format(*pair) for pair in zip(places, names, strict=True)]
    return {
        "compared": WATCHED.format(watched=_list(names), unwatched=_list(rest), numbered=_list(numbered)),
        "parts": PARTS.format(named=_list(named)),
        "part": sql.SQL(", pg_catalog.row_to_json(w.*) as part"),
    }


def _list(members: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(members)


def _named(captured: Captured) -> set[str]:
    """The columns that the statements name."""
    table, excluded = captured.table, captured.excluded
    if (captured.op == "update" and captured.watched is not None) or not is_whole(table, excluded):
        return {c.name for c in table.columns} - excluded | set(captured.watched or ())
    return {*table.key, *(c.name for c in table.columns if not c.bounded)} - excluded


def _small(captured: Captured) -> sql.Composable:
    """Whether the values of a row are small enough for its JSON to be built without further ado."""
    grows = [c for c in captured.table.columns if not c.bounded and c.name not in captured.excluded]
    if not grows:
        return sql.SQL("true")
    sizes = [sql.SQL("coalesce(pg_column_size({}), 0)").format(sql.Identifier(c.name)) for c in grows]
    return sql.SQL("{} < {}").format(sql.SQL(" + ").join(sizes), sql.Literal(LARGE))


def quickly(captured: Captured) -> sql.Composed:
    """What the quick statement takes."""
    table = captured.table
    fits = sql.SQL("hearken.fits({}, {})").format(relation(table), sql.Literal(table.shape))
    sides = {"insert": ["r"], "delete": ["r"], "update": ["o", "r"]}[captured.op]
    small = [sql.SQL("coalesce({}.small, true)").format(sql.Identifier(side)) for side in sides]
    return sql.SQL("({})").format(sql.SQL(" and ").join([fits, *small]))
