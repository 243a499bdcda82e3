-- Finding the events of one key, for people. An index on the key that finds each event would be paid by every writer.
-- A block range index costs writers next to nothing: it says which ranges of pages can hold the key, and what was
-- appended since a range was last summarized (by vacuum, or by a worker each hour) is read whole.

-- Partitions get theirs when they are made, and days that have none when nobody writes to them any more. What is small
-- gets it here: writers wait for it.
do $$
declare
    part record;
begin
    for part in
        select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'hearken.events'::regclass and pg_relation_size(c.oid) < 8 * 1024 * 1024
    loop
        execute format('create index %I on hearken.%I using brin (key text_bloom_ops (n_distinct_per_range = -0.2))'
                       ' with (pages_per_range = 16)', part.relname || '_key', part.relname);
    end loop;
end $$;

-- The ids of the newest events of a key, the newest first. Of a key that has many events the newest are found by walking
-- back from the end; of any other by the index on the key. So the planner is told which way to go: it expects that
-- every range holds every key, and plans for rows that are not there.
create function hearken.events_of_key(
    its_topic text, its_key text, its_op text, since timestamptz, until timestamptz, most bigint
) returns setof bigint
language plpgsql stable rows 100
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set max_parallel_workers_per_gather = 0
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_indexscan = on
set enable_indexonlyscan = on
as $$
declare
    reach constant bigint := 100000;
    ids bigint[];
    further boolean;
begin
    select array_agg(e.id order by e.id desc) filter (
               where e.key = its_key and (its_op is null or e.op = its_op)
                 and (since is null or e.at >= since) and (until is null or e.at < until)),
           count(*) = reach
    into ids, further
    from (select a.id, a.key, a.op, a.at from hearken.events a
          where a.topic = its_topic order by a.id desc limit reach) e;
    if further and (most is null or coalesce(cardinality(ids), 0) < most) then
        perform set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'on', true);
        -- Not by an index on the topic: it is a long one.
        ids := array(
            select e.id from hearken.events e
            where e.topic || '' = its_topic and e.key = its_key and (its_op is null or e.op = its_op)
              and (since is null or e.at >= since) and (until is null or e.at < until)
            order by e.id desc limit most);
    end if;
    return query select unnest(ids) limit most;
end $$;
