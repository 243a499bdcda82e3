-- Backfills: how far each has come. Updated in the transaction that appends a chunk's events, so that one which was
-- killed goes on where it was.
create table hearken.backfills (
    id         bigint      generated always as identity primary key,
    topic      text        not null,
    condition  text,
    handlers   text[],
    last_key   text,
    aside      text[]      not null default '{}',
    passed     bigint      not null default 0,
    appended   bigint      not null default 0,
    by         text        not null,
    started_at timestamptz not null default now(),
    moved_at   timestamptz not null default now(),
    ended_at   timestamptz
);
create index backfills_open on hearken.backfills (topic) where ended_at is null;

comment on table hearken.backfills is 'Snapshot events for existing rows (hearken backfill): what is running, and what has ended.';
comment on column hearken.backfills.condition is 'The SQL condition of --where.';
comment on column hearken.backfills.handlers is 'Whom the events are for; null for all.';
comment on column hearken.backfills.last_key is 'The key up to which rows have been read, in the order of the primary key.';
comment on column hearken.backfills.aside is 'Keys of rows that a writer held when they were passed: done last.';
