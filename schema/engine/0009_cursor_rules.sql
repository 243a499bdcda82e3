-- What a cursor means, in one place: the engine's queries and other areas' SQL call these, and copy nothing of it. The
-- planner writes each of them into the query that calls it, so they cost what copies would; that is why none of them has
-- settings of its own, and why every name in them is qualified.

-- Which part of all keys a key is in. An event without a key is in that of the empty one.
create function hearken.slot_of(its_key text) returns bigint
language sql immutable parallel safe
return pg_catalog.hashtextextended(coalesce(its_key, ''), 0);

-- Which of a handler's shards a slot belongs to.
create function hearken.shard_of(its_slot bigint, its_shards integer) returns bigint
language sql immutable parallel safe
return (its_slot & 2147483647) % its_shards;

-- Whether a cursor has passed an event: it has seen it, or has come to its id in the open window.
create function hearken.passed(its_tx xid8, its_id bigint, done pg_snapshot, target pg_snapshot, last_id bigint)
returns boolean
language sql immutable parallel safe
return pg_catalog.pg_visible_in_snapshot(its_tx, done)
    or (target is not null and its_id <= last_id and pg_catalog.pg_visible_in_snapshot(its_tx, target));

-- The events of a topic that a snapshot does not see: what came after it, and what was in flight in it. Two index ranges,
-- so that a transaction left open for an hour does not make every read start from its beginning. A transaction is asked
-- for as a range in the order of tx: equality would do with either index, and a plan made while a partition was empty may
-- have taken the other, which then reads the whole topic. The limit is of each range; a null one is none, and keeps the
-- planner, which cannot guess how many there are, from reading the whole log.
create function hearken.unseen_events(its_topic text, done pg_snapshot, most bigint default null)
returns setof hearken.events
language sql stable parallel safe
as $$
    select u.* from (
        (select e.* from hearken.events e
         where e.topic = its_topic and e.tx >= pg_catalog.pg_snapshot_xmax(done) order by e.tx limit most)
        union all
        (select i.* from pg_catalog.pg_snapshot_xip(done) x (tx) cross join lateral (
             select e.* from hearken.events e
             where e.topic = its_topic and e.tx between x.tx and x.tx order by e.tx limit most) i)) u
$$;
