"""How a row is written into the log, in SQL: its key as text and the row as JSON. Pure; for triggers and snapshots.

Nothing here fails to be parsed whatever becomes of a column's type: every type has a text.
"""

from __future__ import annotations

from psycopg import sql

from worker.capture.catalog import Column, Table

# With what a session may write floats, times, intervals and bytes its own way, see `triggers`.
PLAIN_TEXT = sql.SQL("{0}::text")
# `concat` asks the type's own output function; a cast could be one that somebody has made.
OWN_TEXT = sql.SQL("pg_catalog.concat({0})")
# Keys that are equal have one text, however they were written.
KEY_TEXTS = {
    "numeric": sql.SQL(
        "case when pg_catalog.strpos({0}::text, '.') > 0"
        " then pg_catalog.rtrim(pg_catalog.rtrim({0}::text, '0'), '.') else {0}::text end"
    ),
    "float4": sql.SQL("case {0}::text when '-0' then '0' else {0}::text end"),
    "float8": sql.SQL("case {0}::text when '-0' then '0' else {0}::text end"),
    "interval": sql.SQL("pg_catalog.justify_interval({0}::text::interval)::text"),
    "citext": sql.SQL("pg_catalog.lower(pg_catalog.concat({0}))"),
}


def key_text(table: Table, row: str = "r.") -> sql.Composed:
    """The key of a row, as text. `row` is the alias of its table with a dot, or empty."""
    texts = [key_part(c, sql.SQL("{}{}").format(_prefix(row), sql.Identifier(c.name))) for c in table.key_columns]
    if len(texts) == 1:
        return texts[0]
    return sql.SQL("pg_catalog.json_build_array({})::text").format(sql.SQL(", ").join(texts))


def key_part(column: Column, value: sql.Composable) -> sql.Composed:
    """One column of a key as text."""
    form = KEY_TEXTS.get(column.type) or (OWN_TEXT if column.own else PLAIN_TEXT)
    return form.format(value)


def row_image(table: Table, excluded: set[str], row: str = "r") -> sql.Composed:
    """The row of the alias `row` as JSON, without the excluded columns."""
    if is_whole(table, excluded):
        return sql.SQL("pg_catalog.row_to_json({}.*)").format(sql.Identifier(row))
    columns = sql.SQL(", ").join(_member(c) for c in table.columns if c.name not in excluded)
    return sql.SQL("(select pg_catalog.row_to_json(kept.*) from (select {}) kept)").format(columns)


def is_whole(table: Table, excluded: set[str]) -> bool:
    """Whether the row goes into the log as it is, with columns that it does not have yet too."""
    return not excluded and not any(c.own for c in table.columns)


def _member(column: Column) -> sql.Composed:
    """A column of the image. An array of what somebody has made is one of texts."""
    name = sql.Identifier(column.name)
    if not column.own:
        return sql.Composed([name])
    form = "case when {0} is not null then pg_catalog.concat({0}){1} end as {0}"
    return sql.SQL(form).format(name, sql.SQL("::pg_catalog.text[]" if column.is_array else ""))


def _prefix(row: str) -> sql.Composable:
    return sql.SQL("{}.").format(sql.Identifier(row.removesuffix("."))) if row else sql.SQL("")
