-- What holds for every writer, the application as well as a person with psql.

-- The clock that sessions go by, in one place, so that tests can set it.
create function public.sessions_clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp as $$ select clock_timestamp() $$;

create function public.sessions_whole_minutes(since timestamptz, until timestamptz) returns integer
language sql immutable
return greatest(floor(extract(epoch from until - since) / 60), 0)::integer;

-- Every change says who made it: the role of the session where the application has not put a "by" into hearken.note.
-- It is kept in the event, since the handlers that write it down have a session of their own; and it holds to the end
-- of the transaction, so what else the transaction does says so too.
create function public.sessions_say_who() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    said jsonb := hearken.note();
begin
    if said ->> 'by' is null then
        said := case jsonb_typeof(said) when 'object' then said else jsonb_strip_nulls(jsonb_build_object('note', said)) end;
        perform set_config('hearken.note', (said || jsonb_build_object('by', session_user))::text, true);
    end if;
    return null;
end $$;
create trigger sessions_say_who before insert or update or delete on public.active_game_sessions_v2
    for each statement execute function public.sessions_say_who();
create trigger sessions_say_who before insert or update or delete on public.invoices
    for each statement execute function public.sessions_say_who();
create trigger sessions_say_who before insert or update or delete on public.purchases
    for each statement execute function public.sessions_say_who();

-- A status may only be followed by some. The conditions stand in WHEN, which costs a row next to nothing; the function
-- runs for what is wrong only. (A function that ran for each row made a countdown of 100,000 take 5.5 s.)
create function public.sessions_refuse() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    what text := tg_argv[0];
    col text := tg_argv[1];
    was text := case when tg_op = 'UPDATE' then to_jsonb(old) ->> col else 'nothing' end;
begin
    raise exception '% %: % cannot go from % to %', what, new.id, col, was, to_jsonb(new) ->> col
        using errcode = 'check_violation', table = tg_table_name, column = col, hint = tg_argv[2];
end $$;

create trigger sessions_refuse_status after update on public.active_game_sessions_v2
    for each row when (old.status is distinct from new.status and not (case old.status
        when 'ready' then new.status in ('active', 'expired', 'cancelled')
        when 'active' then new.status in ('paused', 'completed', 'expired', 'cancelled')
        when 'paused' then new.status in ('active', 'completed', 'expired', 'cancelled')
        else false end))
    execute function public.sessions_refuse('session', 'status',
        'ready → active, expired, cancelled; active ↔ paused; both → completed, expired, cancelled.');
create trigger sessions_refuse_first after insert on public.active_game_sessions_v2
    for each row when (new.status <> 'ready')
    execute function public.sessions_refuse('session', 'status', 'A session begins as ready.');
create trigger sessions_refuse_id after update on public.active_game_sessions_v2
    for each row when (old.id <> new.id)
    execute function public.sessions_refuse('session', 'id', 'The id of a session stays.');
create trigger sessions_refuse_purchase after update on public.active_game_sessions_v2
    for each row when (old.purchase_id <> new.purchase_id)
    execute function public.sessions_refuse('session', 'purchase_id', 'A session stays with its purchase.');

create trigger sessions_refuse_status after update on public.invoices
    for each row when (old.status is distinct from new.status and not (case old.status
        when 'pending' then new.status in ('active', 'expired', 'cancelled')
        when 'active' then new.status in ('used', 'expired', 'cancelled')
        else false end))
    execute function public.sessions_refuse('invoice', 'status',
        'pending → active, expired, cancelled; active → used, expired, cancelled.');
create trigger sessions_refuse_first after insert on public.invoices
    for each row when (new.status <> 'pending')
    execute function public.sessions_refuse('invoice', 'status', 'An invoice begins as pending.');

-- What was imported may begin anywhere.
create trigger sessions_refuse_status after update on public.purchases
    for each row when (old.payment_status is distinct from new.payment_status and not (case old.payment_status
        when 'pending' then new.payment_status in ('completed', 'failed', 'cancelled')
        when 'failed' then new.payment_status in ('pending', 'completed', 'cancelled')
        when 'completed' then new.payment_status in ('refunded')
        else false end))
    execute function public.sessions_refuse('purchase', 'payment_status',
        'pending → completed, failed, cancelled; failed → pending, completed, cancelled; completed → refunded.');

-- Times follow from the status, whoever changes it. A session that stops running is counted up to then; the rest of a
-- minute that it had begun counts when it goes on. One whose time was up when it was paused is completed instead.
-- The countdown gives `ended_at` itself, and so passes by.
create function public.sessions_keep_time() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
    present timestamptz := public.sessions_clock();
    played integer;
begin
    if old.status = 'active' then
        played := least(public.sessions_whole_minutes(old.last_countdown_at, present), old.minutes_total - old.minutes_used);
        new.minutes_used := old.minutes_used + played;
        new.last_countdown_at := old.last_countdown_at + make_interval(mins => played);
        if new.status = 'paused' and new.minutes_used = new.minutes_total then
            new.status := 'completed';
            new.ended_at := new.last_countdown_at;
            return new;
        end if;
    end if;
    if new.status = 'active' and old.status = 'paused' then
        new.last_countdown_at := present - (old.paused_at - old.last_countdown_at);
        new.paused_at := null;
    elsif new.status = 'active' then
        new.started_at := present;
        new.last_countdown_at := present;
    elsif new.status = 'paused' then
        new.paused_at := present;
    else
        new.ended_at := present;
    end if;
    return new;
end $$;
create trigger sessions_keep_time before update on public.active_game_sessions_v2
    for each row when (old.status is distinct from new.status
                       and (new.status in ('active', 'paused') or new.ended_at is null))
    execute function public.sessions_keep_time();

-- What has been written down stays.
create function public.sessions_refuse_rewriting() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    raise exception '% of %: it is append-only', tg_op, tg_table_name
        using errcode = 'insufficient_privilege', hint = 'Add a row that corrects it.';
end $$;
create trigger sessions_append_only before update or delete or truncate on public.session_events
    for each statement execute function public.sessions_refuse_rewriting();
create trigger sessions_append_only before update or delete or truncate on public.invoice_audit_log
    for each statement execute function public.sessions_refuse_rewriting();

-- TRUNCATE tells nobody which rows there were, so nothing of them could be written down.
create function public.sessions_refuse_truncate() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'TRUNCATE of %: each row must leave a trace', tg_table_name
        using errcode = 'insufficient_privilege', hint = 'Use DELETE.';
end $$;
create trigger sessions_no_truncate before truncate on public.purchases
    for each statement execute function public.sessions_refuse_truncate();
create trigger sessions_no_truncate before truncate on public.invoices
    for each statement execute function public.sessions_refuse_truncate();
create trigger sessions_no_truncate before truncate on public.active_game_sessions_v2
    for each statement execute function public.sessions_refuse_truncate();
