-- The log: one row per event, appended by triggers and sources, never updated.
-- `tx` is what cursors compare with (a pg_snapshot); `id` gives the order. The sequence caches nothing,
-- so that for one row the order of ids is the order of commits.
create sequence hearken.events_id_seq as bigint cache 1;

create table hearken.events (
    id        bigint      not null default nextval('hearken.events_id_seq'),
    tx        xid8        not null default pg_current_xact_id(),
    at        timestamptz not null default clock_timestamp(),
    topic     text collate "C" not null,
    op        text collate "C" not null
        check (op in ('insert', 'update', 'delete', 'truncate', 'snapshot', 'tick', 'request')),
    key       text collate "C",
    old       json,
    new       json,
    origin    text,
    note      jsonb,
    replay_of bigint,
    target    text[]
) partition by range (at);

alter sequence hearken.events_id_seq owned by hearken.events.id;

-- An insert never fails for want of a partition.
create table hearken.events_default partition of hearken.events default;

create index events_topic_tx on hearken.events (topic, tx);  -- opens a window
create index events_topic_id on hearken.events (topic, id);  -- reads it

comment on table hearken.events is 'The log: append-only, partitioned by day on at.';
comment on column hearken.events.tx is 'The transaction that appended the event; what a cursor''s snapshots are compared with.';
comment on column hearken.events.old is 'update: former values of the columns that differ; delete: the whole row.';
comment on column hearken.events.origin is 'The handler that caused the change (setting hearken.origin); it gets no event for it.';
comment on column hearken.events.note is 'What the application said about the change (setting hearken.note).';
comment on column hearken.events.target is 'The handlers a replay is for; null for all.';

-- What an application says about its change. Text that is no JSON must not break the application's write,
-- so it is kept as a JSON string.
create function hearken.note() returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
    said text := nullif(current_setting('hearken.note', true), '');
begin
    if said is null then
        return null;
    end if;
    return said::jsonb;
exception when others then
    return to_jsonb(said);
end $$;

-- A former value that jsonb cannot hold (of type json, with \u0000 or a number out of range) as a string instead.
create function hearken.sound(document json) returns json
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp as $$
begin
    perform document::jsonb;
    return document;
exception when others then
    return to_json(document::text);
end $$;
