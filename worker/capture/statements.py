"""The body of a capture trigger: what it runs inside the application's own statement. Pure; `triggers` wraps it.

    quick      rows taken whole, one INSERT … SELECT, nothing checked at run time that a plan can know
    careful    what the quick statement left: a table that was altered since, values that are too large or have no JSON
    last       the log itself cannot be written: a row in hearken.uncaptured, or at least a warning

The application's statement passes in each case. Only the careful part has a subtransaction: it costs a transaction id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from worker.capture.catalog import Table
from worker.capture.image import is_whole, key_text, row_image
from worker.postgres.locks import channel_of, topic_lock

# Values stored in more bytes than this are written carefully: compressed, they may be some hundred times as large, and
# JSON of more than 1 GB is an error.
LARGE = 65_536
# JSON of one row is no larger, in bytes; what does not fit is left out.
LARGEST: LiteralString = "100000000"

# The bell: a NOTIFY takes a cluster-wide lock until the writer's commit is flushed, so it is sent only while a worker
# sleeps, which it shows by holding this advisory lock shared. Nobody may prepare a transaction that has notified, and
# a full queue would fail the commit: then workers look by themselves. A table that was renamed is still the topic's,
# until another one has its name.
BODY = sql.SQL("""
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> {table} or tg_table_schema <> {schema};
    captured bigint := 0;
    more bigint := 0;
    topic text := {topic};
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        {unusable}
        return null;
    end if;
    if renamed and to_regclass({relation}) is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    {quick}
    if captured > 0 then
        perform case when pg_try_advisory_lock({lock}) then pg_advisory_unlock({lock})::text
                     when pg_notification_queue_usage() < 0.5
                      and (current_setting('max_prepared_transactions') = '0'
                           or current_setting('hearken.two_phase', true) = 'off')
                     then pg_notify({channel}, '')::text end;
    end if;
    return null;
end """)
QUICK = sql.SQL("""if renamed then
        perform set_config('hearken.careful', 'on', true);
    else
        {insert}
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        {careful}
    end if;""")
CAREFUL = sql.SQL("""begin
            for part in select * from hearken.columns(tg_relid, {kept}) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format({measure}, form, part.name) into size;
                        if total + size < {largest} then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format({insert}, topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, {key}, {as_compiled}), left_out,
                           case when renamed then 'false' else {quickly} end);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            {uncaptured}
        end;""")
UNCAPTURED = sql.SQL("""begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), {error});
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, {error};""")
NOT_ALLOWED = sql.SQL("format('%s may not insert into hearken.events, or it is not there', current_user)")
FAILED = UNCAPTURED.format(error=sql.SQL("sqlerrm"))
SAID = sql.SQL("nullif(current_setting('hearken.origin', true), '')")
NOTE = sql.SQL("case when current_setting('hearken.note', true) <> '' then hearken.note() end")
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
UPDATE = sql.SQL("""if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            {one};
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            {many};
            get diagnostics captured = row_count;
        end if;""")
TRUNCATE = sql.SQL("""begin
        insert into hearken.events (topic, op, origin, note) values (topic, 'truncate', {said}, {note});
        captured := 1;
    exception when others then
        {uncaptured}
    end;""")


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


def body(captured: Captured) -> str:
    """The text of the trigger's function."""
    table = captured.table
    topic = sql.Literal(table.topic)
    if captured.op == "truncate":
        quick = TRUNCATE.format(said=SAID, note=NOTE, uncaptured=FAILED)
    else:
        quick = QUICK.format(insert=_quick(captured), careful=_careful(captured))
    return BODY.format(
        topic=topic,
        table=sql.Literal(table.name),
        schema=sql.Literal(table.schema),
        relation=_relation(table),
        unusable=UNCAPTURED.format(error=NOT_ALLOWED),
        quick=quick,
        lock=sql.Literal(topic_lock(table.topic)),
        channel=sql.Literal(channel_of(table.topic)),
    ).as_string()


def _relation(table: Table) -> sql.Literal:
    return sql.Literal(sql.Identifier(table.schema, table.name).as_string())


def _quick(captured: Captured) -> sql.Composed:
    """All rows that fit; one that does not sends the trigger on to the careful part."""
    whole = is_whole(captured.table, captured.excluded)
    built = ROW_BUILT if whole else BUILT
    row = {
        "topic": sql.Literal(captured.table.topic),
        "key": key_text(captured.table, ""),
        "image": sql.SQL("coalesce(x.*)") if whole else row_image(captured.table, captured.excluded, "x"),
        "more": sql.SQL(""),
        "left_out": sql.SQL(""),
    }
    chosen = sql.SQL("({} or set_config('hearken.careful', 'on', true) is null)").format(_quickly(captured))
    if captured.op != "update":
        return _statement(ROWS, captured, chosen, row, built) + sql.SQL(
            ";\n        get diagnostics captured = row_count;"
        )
    one, many = (_statement(form, captured, chosen, row, built) for form in (ONE, MANY))
    return UPDATE.format(one=one, many=many)


def _statement(
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
        note=NOTE,
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


def _quickly(captured: Captured) -> sql.Composed:
    """What the quick statement takes."""
    table = captured.table
    fits = sql.SQL("hearken.fits({}, {})").format(_relation(table), sql.Literal(table.shape))
    sides = {"insert": ["r"], "delete": ["r"], "update": ["o", "r"]}[captured.op]
    small = [sql.SQL("coalesce({}.small, true)").format(sql.Identifier(side)) for side in sides]
    return sql.SQL("({})").format(sql.SQL(" and ").join([fits, *small]))


def _careful(captured: Captured) -> sql.Composed:
    table = captured.table
    transitions = {"insert": ["new_rows"], "delete": ["old_rows"], "update": ["old_rows", "new_rows"]}[captured.op]
    measured = " union all ".join(f"select octet_length((%1$s)::text) as n from {rows}" for rows in transitions)
    return CAREFUL.format(
        uncaptured=FAILED,
        kept=sql.Literal(captured.kept),
        measure=sql.Literal(f"select coalesce(max(n), 0) from ({measured}) m"),
        largest=sql.SQL(LARGEST),
        insert=sql.Literal(_template(captured)),
        key=sql.Literal(list(table.key)),
        as_compiled=sql.Literal(key_text(table, "").as_string()),
        quickly=sql.Literal(_quickly(captured).as_string()),
    )


def _template(captured: Captured) -> str:
    """The careful statement, for `format`: topic, columns of the image, key, columns left out, what was quick."""
    places = {"<topic>": "%1$L", "<image>": "%2$s", "<key>": "%3$s", "<left out>": "%4$L", "<quickly>": "%5$s"}
    row: dict[str, sql.Composable] = {
        "topic": sql.SQL("<topic>"),
        "key": sql.SQL("<key>"),
        "image": sql.SQL("(select row_to_json(kept.*) from (select <image>) kept)"),
        "more": sql.SQL(", left_out"),
        "left_out": sql.SQL(", <left out>::text[]"),
    }
    form = MANY if captured.op == "update" else ROWS
    statement = _statement(form, captured, sql.SQL("not <quickly>"), row).as_string().replace("%", "%%")
    for mark, place in places.items():
        statement = statement.replace(mark, place)
    return statement
