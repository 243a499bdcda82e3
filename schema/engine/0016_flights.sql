-- Flights: deliveries that go on after their batch. Their events are parked as `running`, with the worker that runs
-- them, and the cursor moves on.
alter table hearken.parked add column worker bigint;
alter table hearken.parked add column starts integer not null default 0 check (starts >= 0);
alter table hearken.parked drop constraint parked_state_check;
alter table hearken.parked add constraint parked_state_check check (state in ('due', 'held', 'dead', 'running'));
alter table hearken.parked add constraint parked_worker_check check ((state = 'running') = (worker is not null));
create index parked_running on hearken.parked (handler, slot) where state = 'running';

comment on column hearken.parked.worker is 'Who runs it: the key of an advisory lock that this worker holds while it lives.';
comment on column hearken.parked.starts is 'How often it was begun with this row in place and not ended, because its process died.';

-- Whether a worker is there: a session holds its lock, and has been heard of lately. A worker sends itself a NOTIFY on
-- that session every few seconds, so one that is frozen or cut off falls silent. What may not be seen (another role's
-- sessions, activity that is not tracked) is taken as life.
create function hearken.worker_lives(its_worker bigint, silent_after interval) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp as $$
    select exists (
        select from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.classid = ((its_worker >> 32) & 4294967295)::oid and l.objid = (its_worker & 4294967295)::oid
          and coalesce(a.query_start > clock_timestamp() - silent_after, true))
$$;

-- The workers that have begun and not said goodbye. One that no longer lives has ended uncleanly: whatever it was
-- running may have ended it.
create table hearken.workers (
    worker     bigint      primary key,
    started_at timestamptz not null default clock_timestamp(),
    noticed_at timestamptz
);

comment on column hearken.workers.noticed_at is 'When another worker noticed first that it is gone.';
