-- How far each handler (and shard) has come: one row each, the one with the highest `seq`. `done` is what it has seen;
-- while a window is open, `target` is the snapshot the window ends at, and (last_id, max_id] is what is left of it.
-- To move is to delete the row and to insert the next: while somebody holds a transaction open no dead row can be
-- cleaned up, and a row that is updated in place is found ever more slowly behind its dead versions. The newest entry
-- of the index is found at once.
create table hearken.cursors (
    handler  text        not null,
    shard    integer     not null check (shard >= 0),
    seq      bigint      not null default 0,
    shards   integer     not null check (shards > shard),
    topics   text[]      not null,
    cluster  text        not null,
    done     pg_snapshot not null,
    target   pg_snapshot,
    last_id  bigint      not null default 0,
    max_id   bigint      not null default 0,
    moved_at timestamptz not null default now(),
    primary key (handler, shard, seq)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Events put aside: due at a time, held behind an earlier one of their key, or dead until a person looks.
create table hearken.parked (
    handler   text        not null,
    event_id  bigint      not null,
    topic     text        not null,
    key       text,
    slot      bigint      generated always as (hashtextextended(coalesce(key, ''), 0)) stored,
    state     text        not null check (state in ('due', 'held', 'dead')),
    attempt   integer     not null check (attempt >= 0),
    due_at    timestamptz not null default now(),
    reason    text,
    error     text,
    parked_at timestamptz not null default now(),
    primary key (handler, event_id)
);
create index parked_due on hearken.parked (handler, due_at) where state = 'due';
create index parked_slot on hearken.parked (handler, slot, event_id);

comment on column hearken.parked.slot is 'Hash of the key: keys may be null, and too long for an index.';
comment on column hearken.parked.attempt is 'How many attempts have failed.';
comment on column hearken.parked.error is 'The traceback of the last failure.';

-- A handler that an operator (or the engine, in an emergency) has told to wait.
create table hearken.paused (
    handler text        primary key,
    at      timestamptz not null default now(),
    by      text        not null,
    reason  text        not null
);

-- One row per write to an outside system. `state` started and never ended means: the worker died, or no answer came.
create table hearken.effects (
    id              bigint generated always as identity primary key,
    event_id        bigint      not null,
    handler         text        not null,
    topic           text        not null,
    key             text,
    step            text        not null,
    base            text        not null,
    generation      integer     not null check (generation >= 0),
    state           text        not null default 'started' check (state in ('started', 'done', 'failed')),
    object_id       text,
    request_id      text,
    changed         jsonb,
    error           text,
    started_at      timestamptz not null default now(),
    ended_at        timestamptz
);
create index effects_base on hearken.effects (base);
create index effects_key on hearken.effects (topic, key);

comment on column hearken.effects.base is 'handler:key:step:hash of the parameters; with :generation it is the idempotency key.';

-- Take a cursor for this transaction and read it. Two statements in one round trip: the row must be read with a
-- snapshot younger than the lock, which a single statement does not have.
create function hearken.claim(lock bigint, its_handler text, its_shard integer)
returns table (claimed boolean, cursor_row hearken.cursors, parked boolean, paused boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
begin
    claimed := pg_try_advisory_xact_lock(lock);
    if claimed then
        select c.* into cursor_row from hearken.cursors c where c.handler = its_handler and c.shard = its_shard
        order by c.seq desc limit 1;
        parked := exists (select from hearken.parked p where p.handler = its_handler);
        paused := exists (select from hearken.paused p where p.handler = its_handler);
    end if;
    return next;
end $$;

-- Show writers that someone sleeps, and tell which transactions are open after the locks were taken. Asked of pg_locks,
-- because a snapshot does not list the newest ones: those from its xmax on.
create function hearken.fall_asleep(locks bigint[]) returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
    open text[];
begin
    perform pg_advisory_lock_shared(l) from unnest(locks) l;
    select array_agg(l.transactionid::text) into open from pg_locks l
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted;
    return coalesce(open, '{}');
end $$;

-- Where a window over these topics begins and ends. What a cursor has not seen is what came after its snapshot, and what
-- was in flight in it: two index ranges, so that a transaction left open for an hour does not make every read start from
-- its beginning. How many rows that is cannot be guessed, and the planner would rather read the whole log.
create function hearken.unseen(its_topics text[], done pg_snapshot)
returns table (first_id bigint, last_id bigint)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off as $$
    select min(u.id), max(u.id)
    from unnest(its_topics) t (topic) cross join lateral (
        (select e.id from hearken.events e
         where e.topic = t.topic and e.tx >= pg_snapshot_xmax(done) order by e.tx offset 0)
        union all
        (select e.id from pg_snapshot_xip(done) x (tx) cross join lateral (
             select i.id from hearken.events i where i.topic = t.topic and i.tx between x.tx and x.tx
             order by i.tx offset 0) e)) u
$$;
