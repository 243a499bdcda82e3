-- To open a window must not mean to read it. A cursor knows from which id on its events come, and up to which one the
-- brake has looked.
alter table hearken.cursors add column seen_id bigint not null default 0;
alter table hearken.cursors add column seen_tx xid8 not null default '0';
alter table hearken.cursors add column target_id bigint not null default 0;
alter table hearken.cursors add column target_tx xid8 not null default '0';
alter table hearken.cursors add column done_id bigint not null default 0;
alter table hearken.cursors add column floor_id bigint not null default 0;
alter table hearken.cursors add column judged_id bigint not null default 0;
alter table hearken.cursors add column deleted bigint not null default 0;
alter table hearken.cursors add column archived bigint not null default 0;

comment on column hearken.cursors.seen_tx is 'The transaction of the last move. Every later one has events with greater ids than seen_id only.';
comment on column hearken.cursors.target_tx is 'seen_tx when `target` was taken; so with target_id.';
comment on column hearken.cursors.done_id is 'What `done` does not show has a greater id, but for what was long in flight in it.';
comment on column hearken.cursors.floor_id is 'What `done` does not show has a greater id.';
comment on column hearken.cursors.judged_id is 'How far the brake has looked into the open window; deleted, archived: what it has counted.';

-- As before; and what is still in flight is not looked for, since none of it can be seen: there may be very much.
create or replace function hearken.unseen_events(its_topic text, done pg_snapshot, most bigint default null)
returns setof hearken.events
language sql stable parallel safe
as $$
    select u.* from (
        (select e.* from hearken.events e
         where e.topic = its_topic and e.tx >= pg_catalog.pg_snapshot_xmax(done) order by e.tx limit most)
        union all
        (select i.* from pg_catalog.pg_snapshot_xip(done) x (tx) cross join lateral (
             select e.* from hearken.events e
             where e.topic = its_topic and e.tx between x.tx and x.tx order by e.tx limit most) i
         where pg_catalog.pg_visible_in_snapshot(x.tx, pg_catalog.pg_current_snapshot()))) u
$$;
