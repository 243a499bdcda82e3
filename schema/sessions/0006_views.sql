-- What a person watches.

-- One row per purchase. sync_status is
--   SYNCED      it says what its session says
--   NO_SESSION  it has none
--   SYNCING     it does not yet: follow_session is still to be told (see sessions_underway)
--   MISMATCH    it does not, and nothing is on its way: sync_purchase_session_status() mends it
-- Each in a part of its own with a constant, so that asking for mismatches reads only the suspects; and each of these is
-- looked up by itself (offset 0), since after a busy hour nobody knows how many there are.
create view public.purchase_session_overview as
with out_of_step as materialized (
    select p.id as purchase_id, p.user_id, p.package_name, p.payment_status, p.session_status as purchase_session_status,
           s.id as session_id, s.status as session_status, s.minutes_total, s.minutes_used, s.minutes_remaining,
           p.created_at, p.id in (select public.sessions_underway()) as underway
    from (select distinct x.purchase_id from public.session_suspects x) x
    cross join lateral (
        select * from public.session_disagreements d where d.purchase_id = x.purchase_id offset 0) d
    cross join lateral (select * from public.purchases p where p.id = d.purchase_id offset 0) p
    left join lateral (
        select * from public.active_game_sessions_v2 s where s.id = d.session_id offset 0) s on true
)
select o.purchase_id, o.user_id, o.package_name, o.payment_status, o.purchase_session_status,
       o.session_id, o.session_status, o.minutes_total, o.minutes_used, o.minutes_remaining,
       'MISMATCH' as sync_status, o.created_at
from out_of_step o where not o.underway
union all
select o.purchase_id, o.user_id, o.package_name, o.payment_status, o.purchase_session_status,
       o.session_id, o.session_status, o.minutes_total, o.minutes_used, o.minutes_remaining, 'SYNCING', o.created_at
from out_of_step o where o.underway
union all
select p.id, p.user_id, p.package_name, p.payment_status, p.session_status,
       s.id, s.status, s.minutes_total, s.minutes_used, s.minutes_remaining, 'SYNCED', p.created_at
from public.purchases p cross join lateral (
    select * from public.active_game_sessions_v2 s where s.purchase_id = p.id
    order by s.status in ('ready', 'active', 'paused') desc, s.id desc limit 1) s
where not exists (select from out_of_step o where o.purchase_id = p.id)
union all
select p.id, p.user_id, p.package_name, p.payment_status, p.session_status,
       null, null, null, null, null, 'NO_SESSION', p.created_at
from public.purchases p
where not exists (select from public.active_game_sessions_v2 s where s.purchase_id = p.id)
  and not exists (select from out_of_step o where o.purchase_id = p.id);

create view public.session_summary as
select s.id as session_id, s.purchase_id, p.user_id, p.package_name, i.number as invoice_number, s.status,
       s.minutes_total, s.minutes_used, s.minutes_remaining,
       round(100.0 * s.minutes_used / nullif(s.minutes_total, 0), 1) as percent_used,
       s.created_at, s.started_at, s.last_countdown_at, s.paused_at, s.ended_at
from public.active_game_sessions_v2 s
join public.purchases p on p.id = s.purchase_id
left join public.invoices i on i.purchase_id = s.purchase_id;

-- Invoices that can be scanned or are being played, with the playing time left and the time left to scan them.
create view public.active_invoices as
select i.id as invoice_id, i.number, i.purchase_id, p.user_id, p.package_name, i.status, s.id as session_id,
       s.status as session_status, coalesce(s.minutes_remaining, p.minutes) as minutes_remaining,
       i.expires_at, case when s.id is null then i.expires_at - public.sessions_clock() end as time_to_scan
from public.invoices i
join public.purchases p on p.id = i.purchase_id
left join public.active_game_sessions_v2 s on s.purchase_id = i.purchase_id and s.status in ('ready', 'active', 'paused')
where (i.status in ('pending', 'active') and s.id is not null)
   or (i.status = 'pending' and p.payment_status = 'completed' and coalesce(p.minutes, 0) > 0
       and (p.scheduled_for is null or p.scheduled_for <= public.sessions_clock())
       and not exists (select from public.active_game_sessions_v2 o where o.purchase_id = i.purchase_id)
       and (i.expires_at is null or i.expires_at > public.sessions_clock()));

comment on view public.purchase_session_overview is 'Purchases beside their sessions; sync_status says whether they agree.';
comment on view public.session_summary is 'Sessions with what they belong to.';
comment on view public.active_invoices is 'Invoices to scan or in play, with the time that is left.';
