-- What each handler's cursors mean: the declaration that decides which events they pass over. Whoever claims a cursor
-- compares it with the declaration of its own code. Apart from hearken.cursors, whose rows are replaced at every move,
-- also by workers of an older version.
create table hearken.declarations (
    handler     text        primary key,
    declaration jsonb       not null,
    declared_at timestamptz not null default now()
);

comment on table hearken.declarations is 'The declaration of each handler, as `hearken migrate` found it last.';

-- Where a handler's cursors stood when their declaration was replaced: what they had passed was judged by the old one.
create table hearken.former_declarations (
    id          bigint      generated always as identity primary key,
    handler     text        not null,
    shard       integer     not null,
    shards      integer     not null,
    declaration jsonb,
    done        pg_snapshot not null,
    target      pg_snapshot,
    last_id     bigint      not null,
    ended_at    timestamptz not null default now()
);
create index former_declarations_handler on hearken.former_declarations (handler, id);

comment on column hearken.former_declarations.declaration is 'Null: the handler was new, nothing before was for it.';

-- As before, and with the declaration of whose cursor it is.
drop function hearken.claim(bigint, text, integer);
create function hearken.claim(lock bigint, its_handler text, its_shard integer)
returns table (claimed boolean, cursor_row hearken.cursors, parked boolean, paused boolean, declaration jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    claimed := pg_try_advisory_xact_lock(lock);
    if claimed then
        select c.* into cursor_row from hearken.cursors c where c.handler = its_handler and c.shard = its_shard
        order by c.seq desc limit 1;
        parked := exists (select from hearken.parked p where p.handler = its_handler);
        paused := exists (select from hearken.paused p where p.handler = its_handler);
        declaration := (select d.declaration from hearken.declarations d where d.handler = its_handler);
    end if;
    return next;
end $$;

-- The timelines that this database has been on, as workers noticed them: a standby that is promoted begins another one.
create table hearken.timelines (
    cluster    text        not null,
    timeline   text        not null,
    noticed_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz,
    primary key (cluster, timeline)
);

comment on column hearken.timelines.settled_at is 'When a person said that outside systems agree again (hearken failover --confirm).';

-- Events that a handler had been given and that the new timeline lacks: what they caused outside is still there.
create table hearken.lost_events (
    cluster  text        not null,
    timeline text        not null,
    handler  text        not null,
    event_id bigint      not null,
    topic    text        not null,
    key      text,
    at       timestamptz not null,
    primary key (cluster, timeline, handler, event_id),
    foreign key (cluster, timeline) references hearken.timelines
);

-- Part of the idempotency key: a ledger that was set back (a failover, a restored dump) counts the same generations
-- again, and the destination would answer from its memory of the other ones.
alter table hearken.effects add column era text not null default '';
comment on column hearken.effects.base is 'handler:key:step:hash of the parameters; with :generation and :era it is the idempotency key.';
