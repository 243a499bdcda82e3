-- As before; a delivery that goes on after its batch is under way too.
create or replace function public.sessions_underway() returns setof bigint
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off as $$
    with position as (
        select distinct on (c.shard) c.* from hearken.cursors c where c.handler = 'follow_session'
        order by c.shard, c.seq desc
    ), undelivered as (
        select e.* from position c
        cross join lateral hearken.unseen_events('public.active_game_sessions_v2', c.done) e
        where not hearken.passed(e.tx, e.id, c.done, c.target, c.last_id)
          and hearken.shard_of(hearken.slot_of(e.key), c.shards) = c.shard
        union all
        select e.* from hearken.parked p cross join lateral (
            select * from hearken.events e where e.topic = p.topic and e.id = p.event_id offset 0) e
        where p.handler = 'follow_session' and p.state <> 'dead'
    )
    select (coalesce(u.new, u.old) ->> 'purchase_id')::bigint
    from undelivered u
    where u.origin is distinct from 'follow_session' and (u.target is null or 'follow_session' = any (u.target))
$$;
