-- Capture, second form. A trigger takes rows whole; what differs is worked out when the log is read. So `old` of an
-- update may hold columns that did not change. Events of the first form hold none of those; both read alike.
comment on column hearken.events.old is 'update: the former row, or those columns of it that differ; delete: the whole row.';

-- Compiled anew for every statement that inserts, it cost writers a fifth of capture.
alter table hearken.events drop constraint events_op_check;

alter table hearken.events add column left_out text[];
comment on column hearken.events.left_out is 'Columns whose values could not be written: too large, or their JSON cannot be built.';

-- A statement whose changes could not be written to the log. Its own write went through.
create table hearken.uncaptured (
    at     timestamptz not null default clock_timestamp(),
    tx     xid8        not null default pg_current_xact_id(),
    topic  text        not null,
    op     text        not null,
    error  text        not null,
    primary key (at, tx)
);
comment on table hearken.uncaptured is 'Changes that are missing from the log, and why: backfill the table of the topic.';

-- The columns of a table and their types, as a hash.
create function hearken.shape(relation oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select md5(string_agg(format('%s %s.%s', a.attname, n.nspname, t.typname), ',' order by a.attnum))
    from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
$$;

-- Whether a trigger may append as it was compiled: its table still has that shape, and the log takes its events.
-- It is not immutable, but a plan may treat it so: whatever it reads makes Postgres plan the trigger's statements anew
-- when it changes. So it costs a write nothing.
create function hearken.fits(topic text, compiled text) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(hearken.shape(to_regclass(topic)) = compiled
        and has_table_privilege(to_regclass('hearken.events'), 'insert')
        and has_sequence_privilege(to_regclass('hearken.events_id_seq'), 'usage')
        and exists (select from pg_partitioned_table where partrelid = to_regclass('hearken.events') and partdefid <> 0),
        false);
end $$;

-- Whether a watched column differs between the images of an update. A name that `new` lacks (renamed, dropped, left
-- out) counts as changed; one that only `old` lacks did not change, in the first form of the log.
create function hearken.touches(old json, new json, watch text[]) returns boolean
language plpgsql immutable parallel unsafe
set search_path = pg_catalog, pg_temp as $$
declare
    name text;
begin
    foreach name in array watch loop
        if new -> name is null or (old -> name)::text <> (new -> name)::text then
            return true;
        end if;
    end loop;
    return false;
exception when others then  -- JSON that Postgres keeps and cannot take apart (\u0000)
    return true;
end $$;

-- One column of a captured row as text, or null where there is none.
create function hearken.field(document json, name text) returns text
language plpgsql immutable parallel unsafe strict
set search_path = pg_catalog, pg_temp as $$
begin
    return document ->> name;
exception when others then
    return null;
end $$;

-- The columns of a table that a trigger may write, and how: as they are, or, where JSON of their type would call a
-- cast that somebody has made, as their text. `kept` is null for all of them.
create function hearken.columns(relation oid, kept text[]) returns table (name text, expression text)
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select a.attname::text,
           format(case when coalesce(nullif(t.typbasetype, 0), t.oid) < 16384 then '%1$I'
                       else 'case when %1$I is not null then concat(%1$I) end' end, a.attname)
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
      and (kept is null or a.attname = any(kept))
    order by a.attnum
$$;

-- How the key of a row is written when the key's columns are no longer those that a trigger was compiled for.
create function hearken.key_now(relation oid, compiled text[], as_compiled text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    names text[];
begin
    if (select count(*) from hearken.columns(relation, compiled)) = cardinality(compiled) then
        return as_compiled;
    end if;
    select array_agg(format('%I::text', a.attname) order by k.place) into names
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts;
    return case cardinality(names) when 1 then names[1]
           else coalesce('json_build_array(' || array_to_string(names, ', ') || ')::text', 'null::text') end;
end $$;
