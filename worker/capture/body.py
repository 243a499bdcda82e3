"""The body of a capture trigger: what it runs inside the application's own statement. Pure; `triggers` wraps it.

    note       what the application says of the change; left out where it cannot be had
    quick      rows taken whole, one INSERT … SELECT, nothing checked at run time that a plan can know
    careful    what the quick statement left: a table that was altered since, values that are too large or have no JSON
    last       the log itself cannot be written: a row in hearken.uncaptured, or at least a warning

The application's statement passes in each case. Only the careful part writes in a subtransaction: it costs a
transaction id.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

from worker.capture.image import is_whole, key_text, row_image
from worker.capture.statements import (
    BUILT,
    MANY,
    ONE,
    ROW_BUILT,
    ROWS,
    SAID,
    Captured,
    quickly,
    relation,
    statement,
)
from worker.postgres.locks import channel_of, topic_lock

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
    unfit boolean;
    noted jsonb;
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
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    {quick}
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock({lock}) then pg_advisory_unlock({lock})::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify({channel}, '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end """)
QUICK = sql.SQL("""unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
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
                           case when unfit then 'false' else {quickly} end, noted);
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
NOTE = sql.SQL("noted")
NOT_ALLOWED = sql.SQL("format('%s may not insert into hearken.events, or it is not there', current_user)")
FAILED = UNCAPTURED.format(error=sql.SQL("sqlerrm"))
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
        relation=relation(table),
        unusable=UNCAPTURED.format(error=NOT_ALLOWED),
        quick=quick,
        lock=sql.Literal(topic_lock(table.topic)),
        channel=sql.Literal(channel_of(table.topic)),
    ).as_string()


def _quick(captured: Captured) -> sql.Composed:
    """All rows that fit; one that does not sends the trigger on to the careful part."""
    whole = is_whole(captured.table, captured.excluded)
    built = ROW_BUILT if whole else BUILT
    row = {
        "topic": sql.Literal(captured.table.topic),
        "key": key_text(captured.table, ""),
        "image": sql.SQL("coalesce(x.*)") if whole else row_image(captured.table, captured.excluded, "x"),
        "note": NOTE,
        "more": sql.SQL(""),
        "left_out": sql.SQL(""),
    }
    chosen = sql.SQL("({} or set_config('hearken.careful', 'on', true) is null)").format(quickly(captured))
    if captured.op != "update":
        return statement(ROWS, captured, chosen, row, built) + sql.SQL(
            ";\n        get diagnostics captured = row_count;"
        )
    one, many = (statement(form, captured, chosen, row, built) for form in (ONE, MANY))
    return UPDATE.format(one=one, many=many)


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
        quickly=sql.Literal(quickly(captured).as_string()),
    )


def _template(captured: Captured) -> str:
    """The careful statement, for `format`: topic, columns of the image, key, columns left out, what was quick, note."""
    places = {"<topic>": "%1$L", "<image>": "%2$s", "<key>": "%3$s", "<left out>": "%4$L", "<quickly>": "%5$s"}
    places["<note>"] = "%6$L"
    row: dict[str, sql.Composable] = {
        "topic": sql.SQL("<topic>"),
        "key": sql.SQL("<key>"),
        "image": sql.SQL("(select row_to_json(kept.*) from (select <image>) kept)"),
        "note": sql.SQL("<note>::jsonb"),
        "more": sql.SQL(", left_out"),
        "left_out": sql.SQL(", <left out>::text[]"),
    }
    form = MANY if captured.op == "update" else ROWS
    text = statement(form, captured, sql.SQL("not <quickly>"), row).as_string().replace("%", "%%")
    for mark, place in places.items():
        text = text.replace(mark, place)
    return text
