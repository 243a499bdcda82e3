-- What an application calls. Each refuses with a reason and changes nothing then; what is done already is returned, not
-- done again. Who did it is "by" in the setting hearken.note.

-- The purchase first, then its invoice: the order in which everyone locks them.
create function public.activate_invoice(code text) returns public.active_game_sessions_v2
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    invoice public.invoices;
    purchase public.purchases;
    its_session public.active_game_sessions_v2;
begin
    select * into invoice from public.invoices i where i.number = code or i.qr_content = code;
    if not found then
        raise exception 'no invoice has this number or code' using errcode = 'no_data_found',
            hint = 'Scan it again, or look for the purchase in purchase_session_overview.';
    end if;
    select * into purchase from public.purchases p where p.id = invoice.purchase_id for share;
    select * into invoice from public.invoices i where i.id = invoice.id for update;
    select * into its_session from public.active_game_sessions_v2 s where s.purchase_id = purchase.id
    order by s.status in ('ready', 'active', 'paused') desc, s.id desc limit 1;
    if invoice.status in ('pending', 'active') and its_session.status in ('ready', 'active', 'paused') then
        return its_session;
    end if;
    perform public.sessions_check_invoice(invoice, purchase, its_session);
    insert into public.active_game_sessions_v2 (purchase_id, status, minutes_total, created_at)
    values (purchase.id, 'ready', purchase.minutes, public.sessions_clock())
    returning * into its_session;
    update public.invoices i set status = 'active', updated_at = public.sessions_clock() where i.id = invoice.id;
    return its_session;
end $$;

-- Why an invoice that has no live session cannot be activated, as an error; nothing if it can.
create function public.sessions_check_invoice(
    invoice public.invoices, purchase public.purchases, its_session public.active_game_sessions_v2
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    problem text := case
        when invoice.status in ('used', 'cancelled', 'expired') then 'it is ' || invoice.status
        when its_session.id is not null then
            format('it was used: its session %s is %s', its_session.id, its_session.status)
        when invoice.status = 'active' then 'it was used: its session was deleted'
        when purchase.payment_status <> 'completed' then
            format('purchase %s is %s, not paid', purchase.id, purchase.payment_status)
        when invoice.expires_at <= public.sessions_clock() then format('it expired at %s', invoice.expires_at)
        when purchase.scheduled_for > public.sessions_clock() then
            format('purchase %s is reserved for %s', purchase.id, purchase.scheduled_for)
        when coalesce(purchase.minutes, 0) = 0 then
            format('the package of purchase %s has no minutes', purchase.id)
    end;
begin
    if problem is not null then
        raise exception 'invoice % cannot be activated: %', invoice.number, problem
            using errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

-- One session to another status: as it is if it has that already, an error that names both states if it may not.
create function public.sessions_move(its_id bigint, allowed text[], wanted text) returns public.active_game_sessions_v2
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    its_session public.active_game_sessions_v2;
    paid text;
begin
    select * into its_session from public.active_game_sessions_v2 s where s.id = its_id for update;
    if not found then
        raise exception 'there is no session %', its_id using errcode = 'no_data_found';
    elsif its_session.status = wanted then
        return its_session;
    elsif its_session.status <> all (allowed) then
        raise exception 'session %: status cannot go from % to %', its_id, its_session.status, wanted
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('Only from %s.', array_to_string(allowed, ' or '));
    end if;
    select p.payment_status into paid from public.purchases p where p.id = its_session.purchase_id;
    if wanted = 'active' and paid <> 'completed' then
        raise exception 'session %: status cannot go from % to active: its purchase % is %',
            its_id, its_session.status, its_session.purchase_id, paid
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    update public.active_game_sessions_v2 s set status = wanted where s.id = its_id returning * into its_session;
    return its_session;
end $$;

create function public.start_session(session_id bigint) returns public.active_game_sessions_v2
language sql
set search_path = pg_catalog, pg_temp as $$ select * from public.sessions_move(session_id, '{ready}', 'active') $$;

-- One whose time was up is completed instead, as the row says that is returned.
create function public.pause_session(session_id bigint) returns public.active_game_sessions_v2
language sql
set search_path = pg_catalog, pg_temp as $$ select * from public.sessions_move(session_id, '{active}', 'paused') $$;

create function public.resume_session(session_id bigint) returns public.active_game_sessions_v2
language sql
set search_path = pg_catalog, pg_temp as $$ select * from public.sessions_move(session_id, '{paused}', 'active') $$;

create function public.cancel_session(session_id bigint) returns public.active_game_sessions_v2
language sql
set search_path = pg_catalog, pg_temp as $$
    select * from public.sessions_move(session_id, '{ready, active, paused}', 'cancelled')
$$;

-- Counts the whole minutes since each active session was last counted, and completes those whose time is up.
-- counted: sessions that were counted; ended: those of them that ended; due: reservations whose time has come.
-- One at a time, so that two cannot wait for each other's rows; the second finds nothing left to count. It waits for no
-- purchase: who holds one may wait for a session that was just counted. What is passed over comes a minute later.
create function public.countdown_active_sessions(out counted bigint, out ended bigint, out due bigint)
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    present timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended('public.countdown_active_sessions', 0));
    present := public.sessions_clock();
    update public.active_game_sessions_v2 s
    set status = 'completed', minutes_used = s.minutes_total,
        ended_at = s.last_countdown_at + make_interval(mins => s.minutes_total - s.minutes_used)
    where s.status = 'active'
      and s.last_countdown_at + make_interval(mins => s.minutes_total - s.minutes_used) <= present;
    get diagnostics ended = row_count;
    update public.active_game_sessions_v2 s
    set minutes_used = s.minutes_used + public.sessions_whole_minutes(s.last_countdown_at, present),
        last_countdown_at = s.last_countdown_at
            + make_interval(mins => public.sessions_whole_minutes(s.last_countdown_at, present))
    where s.status = 'active' and s.last_countdown_at <= present - interval '1 minute';
    get diagnostics counted = row_count;
    counted := counted + ended;
    update public.purchases p set session_status = 'pending', updated_at = present
    where p.id = any (array(
        select r.id from public.purchases r where r.session_status = 'reserved' and r.scheduled_for <= present
        for no key update skip locked));
    get diagnostics due = row_count;
end $$;

-- Expires what nobody came for: invoices that were not scanned in time, and sessions that were not started, once their
-- invoice's time is up and a day has passed since the scan. What was begun stays, however long it is paused.
-- Like the countdown it waits for no row; and it takes so many at a time, that a minute's tick is never long.
create function public.expire_overdue_invoices(out invoices bigint, out sessions bigint)
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    present timestamptz := public.sessions_clock();
    most constant integer := 10000;
    overdue bigint[];
    missed bigint[];
    left_ready bigint[];
begin
    overdue := array(select i.purchase_id from public.invoices i
                     where i.status in ('pending', 'active') and i.expires_at <= present);
    missed := array(
        select p.id from public.purchases p join public.invoices i on i.purchase_id = p.id
        where p.id = any (overdue) and i.status = 'pending' and i.expires_at <= present
          and not exists (select from public.active_game_sessions_v2 s
                          where s.purchase_id = p.id and s.status in ('ready', 'active', 'paused'))
        limit most for no key update of p, i skip locked);
    update public.invoices i set status = 'expired', updated_at = present where i.purchase_id = any (missed);
    get diagnostics invoices = row_count;
    update public.purchases p set session_status = 'expired', updated_at = present
    where p.id = any (missed) and coalesce(p.session_status, 'pending') in ('pending', 'reserved')
      and not exists (select from public.active_game_sessions_v2 s where s.purchase_id = p.id);
    left_ready := array(
        select p.id from public.purchases p join public.invoices i on i.purchase_id = p.id
        join public.active_game_sessions_v2 s on s.purchase_id = p.id
        where p.id = any (overdue) and i.status in ('pending', 'active') and i.expires_at <= present
          and s.status = 'ready' and s.created_at <= present - interval '1 day'
        limit most for no key update of p, i, s skip locked);
    update public.active_game_sessions_v2 s set status = 'expired'
    where s.purchase_id = any (left_ready) and s.status = 'ready';
    get diagnostics sessions = row_count;
    update public.invoices i set status = 'expired', updated_at = present where i.purchase_id = any (left_ready);
end $$;

-- Gives every purchase the status its session says; returns how many were mended. It looks at all of them, so it also
-- finds what no trigger has seen. They are locked before they are compared: follow_session may be writing them.
create function public.sync_purchase_session_status() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    suspects bigint[];
    mended bigint;
begin
    suspects := array(select d.purchase_id from public.session_disagreements d);
    suspects := array(select p.id from public.purchases p where p.id = any (suspects) order by p.id for no key update);
    update public.purchases p set session_status = d.due, updated_at = public.sessions_clock()
    from public.session_disagreements d where d.purchase_id = any (suspects) and p.id = d.purchase_id;
    get diagnostics mended = row_count;
    delete from public.session_suspects x
    where x.purchase_id <> all (suspects)
      and not exists (select from public.session_disagreements d where d.purchase_id = x.purchase_id);
    return mended;
end $$;
