-- Whether a purchase and its session agree.

-- The session that counts is the live one, else the newest. Without any, a purchase must not say that one is live: its
-- session was deleted, and `due` says cancelled.
create view public.session_disagreements as
select p.id as purchase_id, p.session_status, s.id as session_id, coalesce(s.status, 'cancelled') as due
from public.purchases p
left join lateral (
    select s.id, s.status from public.active_game_sessions_v2 s where s.purchase_id = p.id
    order by s.status in ('ready', 'active', 'paused') desc, s.id desc limit 1) s on true
where case when s.id is null then p.session_status in ('ready', 'active', 'paused')
           else p.session_status is distinct from s.status end;

comment on view public.session_disagreements is
    'Purchases whose session_status is not what their session says (due). Ask for some of them by purchase_id.';

-- Who changes one of the two makes the purchase a suspect. Not so follow_session: what it has not seen is still in the
-- log, and comes to it. Also in replicas (ALWAYS), or the overview would not show what they were sent.
create function public.sessions_suspect() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_nestloop = off as $$
begin
    if tg_table_name = 'purchases' and tg_op = 'INSERT' then
        insert into public.session_suspects select n.id from new_rows n
        where n.session_status in ('ready', 'active', 'paused');
    elsif tg_table_name = 'purchases' then
        if current_setting('hearken.origin', true) is distinct from 'follow_session' then
            insert into public.session_suspects select n.id from new_rows n join old_rows o on o.id = n.id
            where n.session_status is distinct from o.session_status;
        end if;
    elsif tg_op = 'INSERT' then
        insert into public.session_suspects select n.purchase_id from new_rows n;
    elsif tg_op = 'UPDATE' then
        insert into public.session_suspects select n.purchase_id from new_rows n join old_rows o on o.id = n.id
        where n.status is distinct from o.status;
    else
        insert into public.session_suspects select o.purchase_id from old_rows o;
    end if;
    return null;
end $$;
create trigger sessions_suspect_insert after insert on public.purchases referencing new table as new_rows
    for each statement execute function public.sessions_suspect();
create trigger sessions_suspect_update after update on public.purchases
    referencing old table as old_rows new table as new_rows
    for each statement execute function public.sessions_suspect();
create trigger sessions_suspect_insert after insert on public.active_game_sessions_v2 referencing new table as new_rows
    for each statement execute function public.sessions_suspect();
create trigger sessions_suspect_update after update on public.active_game_sessions_v2
    referencing old table as old_rows new table as new_rows
    for each statement execute function public.sessions_suspect();
create trigger sessions_suspect_delete after delete on public.active_game_sessions_v2 referencing old table as old_rows
    for each statement execute function public.sessions_suspect();
alter table public.purchases enable always trigger sessions_suspect_insert;
alter table public.purchases enable always trigger sessions_suspect_update;
alter table public.active_game_sessions_v2 enable always trigger sessions_suspect_insert;
alter table public.active_game_sessions_v2 enable always trigger sessions_suspect_update;
alter table public.active_game_sessions_v2 enable always trigger sessions_suspect_delete;

-- Adopted rows that are out of step.
insert into public.session_suspects select d.purchase_id from public.session_disagreements d;

-- Purchases of which follow_session has not been told everything yet: what its cursor has not seen, and what is parked
-- for it to come (due, or held behind). A dead event is no longer on its way: a person must look, so it counts as told,
-- and the purchase as a mismatch. All of a shard's window up to last_id has been delivered.
-- How many that is cannot be guessed, and the planner would rather read the whole log.
create function public.sessions_underway() returns setof bigint
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off as $$
    with position as (
        select distinct on (c.shard) c.* from hearken.cursors c where c.handler = 'follow_session'
        order by c.shard, c.seq desc
    ), undelivered as (
        select e.* from position c cross join lateral (
            select * from hearken.events e
            where e.topic = 'public.active_game_sessions_v2' and e.tx >= pg_snapshot_xmax(c.done)
            order by e.tx offset 0) e
        where not (c.target is not null and e.id <= c.last_id and pg_visible_in_snapshot(e.tx, c.target))
          and (c.shards = 1 or (hashtextextended(coalesce(e.key, ''), 0) & 2147483647) % c.shards = c.shard)
        union all
        select e.* from position c cross join pg_snapshot_xip(c.done) x (tx) cross join lateral (
            select * from hearken.events e
            where e.topic = 'public.active_game_sessions_v2' and e.tx between x.tx and x.tx
            order by e.tx offset 0) e
        where not (c.target is not null and e.id <= c.last_id and pg_visible_in_snapshot(e.tx, c.target))
          and (c.shards = 1 or (hashtextextended(coalesce(e.key, ''), 0) & 2147483647) % c.shards = c.shard)
        union all
        select e.* from hearken.parked p cross join lateral (
            select * from hearken.events e where e.topic = p.topic and e.id = p.event_id offset 0) e
        where p.handler = 'follow_session' and p.state in ('due', 'held')
    )
    select (coalesce(u.new, u.old) ->> 'purchase_id')::bigint
    from undelivered u
    where u.origin is distinct from 'follow_session' and (u.target is null or 'follow_session' = any (u.target))
$$;

comment on function public.sessions_underway() is 'Purchases with an event of their session that follow_session has not settled yet.';
