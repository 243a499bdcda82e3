-- Makes tables that were there already fit, and gives all of them, new or not, their constraints and indexes.

-- What cannot be guessed is asked for. The seed's own triggers and functions go: the handlers and 0004 take their place.
do $$
declare
    missing text;
    item record;
begin
    select string_agg(format('%s.%s', w.tab, w.col), ', ' order by w.tab, w.col) into missing
    from (values ('purchases', 'id'), ('purchases', 'payment_status'), ('purchases', 'session_status'),
                 ('invoices', 'id'), ('invoices', 'purchase_id'), ('invoices', 'number'), ('invoices', 'qr_content'),
                 ('invoices', 'status'), ('active_game_sessions_v2', 'id'), ('active_game_sessions_v2', 'purchase_id'),
                 ('active_game_sessions_v2', 'status'), ('active_game_sessions_v2', 'minutes_total'),
                 ('session_events', 'id'), ('session_events', 'session_id'), ('invoice_audit_log', 'id'),
                 ('invoice_audit_log', 'invoice_id')) as w (tab, col)
    where not exists (select from pg_attribute
                      where attrelid = ('public.' || w.tab)::regclass and attname = w.col and not attisdropped);
    if missing is not null then
        raise exception 'tables of the arcade exist but lack columns: %', missing
            using hint = 'Add or rename them, for example: alter table public.invoices rename invoice_number to number.';
    end if;
    select string_agg(format('%s.%s is of type %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                      order by c.relname, a.attname) into missing
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.oid in ('public.purchases'::regclass, 'public.invoices'::regclass, 'public.active_game_sessions_v2'::regclass)
      and case when a.attname in ('id', 'purchase_id') then a.atttypid not in ('int4'::regtype, 'int8'::regtype)
               when a.attname in ('status', 'payment_status', 'session_status')
                   then a.atttypid not in ('text'::regtype, 'varchar'::regtype)
               else false end;
    if missing is not null then
        raise exception 'columns of the arcade are neither integers nor text: %', missing
            using hint = 'For example: alter table public.purchases alter session_status type text.';
    end if;
    select string_agg(w.tab, ', ') into missing
    from (values ('purchases'), ('invoices'), ('active_game_sessions_v2'), ('session_events'), ('invoice_audit_log')) w (tab)
    where not exists (select from pg_index join pg_attribute on attrelid = indrelid and attname = 'id'
                      where indrelid = ('public.' || w.tab)::regclass
                        and indisprimary and indnkeyatts = 1 and indkey[0] = attnum);
    if missing is not null then
        raise exception 'the primary key is not (id) in: %', missing
            using hint = 'For example: alter table public.purchases add primary key (id).';
    end if;
    for item in
        select format('drop trigger %I on public.%I', t.tgname, c.relname) as statement
        from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where t.tgname in ('after_purchase_completed', 'sync_session_to_purchase') and not t.tgisinternal
          and c.oid in ('public.purchases'::regclass, 'public.active_game_sessions_v2'::regclass)
        union all
        select format('drop view public.%I', c.relname) from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'v'
          and c.relname in ('purchase_session_overview', 'session_summary', 'active_invoices')
        union all
        select format('drop routine %s', p.oid::regprocedure) from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in ('sync_purchase_session_status', 'activate_invoice', 'start_session', 'pause_session',
                            'resume_session', 'cancel_session', 'countdown_active_sessions', 'expire_overdue_invoices')
    loop
        execute item.statement;
    end loop;
end
$$;

alter table public.purchases
    add column if not exists user_id bigint,
    add column if not exists package_name text,
    add column if not exists minutes integer,
    add column if not exists amount_cents bigint not null default 0,
    add column if not exists currency text not null default 'EUR',
    add column if not exists scheduled_for timestamptz,
    add column if not exists paid_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();
alter table public.invoices
    add column if not exists expires_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();
alter table public.active_game_sessions_v2
    add column if not exists minutes_used integer not null default 0,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists started_at timestamptz,
    add column if not exists last_countdown_at timestamptz,
    add column if not exists paused_at timestamptz,
    add column if not exists ended_at timestamptz;
alter table public.session_events
    add column if not exists purchase_id bigint,
    add column if not exists what text collate "C" not null default 'adopt',
    add column if not exists "by" text,
    add column if not exists before jsonb,
    add column if not exists after jsonb,
    add column if not exists event_id bigint,
    add column if not exists created_at timestamptz not null default now();
alter table public.invoice_audit_log
    add column if not exists purchase_id bigint,
    add column if not exists what text collate "C" not null default 'adopt',
    add column if not exists "by" text,
    add column if not exists before jsonb,
    add column if not exists after jsonb,
    add column if not exists event_id bigint,
    add column if not exists created_at timestamptz not null default now();
alter table public.purchases alter column payment_status set default 'pending';
alter table public.invoices alter column status set default 'pending';
alter table public.active_game_sessions_v2 alter column status set default 'ready',
    alter column minutes_used set default 0;
alter table public.session_events alter column what drop default;
alter table public.invoice_audit_log alter column what drop default;

-- An id that nobody gives would be missing from every row that the functions and handlers make.
do $$
declare
    tab text;
begin
    foreach tab in array array['purchases', 'invoices', 'active_game_sessions_v2', 'session_events', 'invoice_audit_log']
    loop
        if exists (select from pg_attribute where attrelid = ('public.' || tab)::regclass and attname = 'id'
                     and not atthasdef and attidentity = '') then
            execute format('alter table public.%I alter column id add generated by default as identity', tab);
            execute format('select setval(pg_get_serial_sequence(%L, ''id''), coalesce(max(id), 0) + 1, false) '
                           'from public.%I', 'public.' || tab, tab);
        end if;
    end loop;
end
$$;

-- Adopted sessions are mended where there is one meaning: minutes within what was bought; of several live ones of a
-- purchase the furthest (active, then paused, then ready; the newest of those) stays; time is counted from now where it
-- is not known up to when it was. session_events keeps how each was before.
with ranked as (
    select s.*, row_number() over (partition by s.purchase_id order by
               array_position(array['active', 'paused', 'ready'], s.status::text), s.id desc) as place,
           greatest(coalesce(s.minutes_total, p.minutes, 0), 0) as total
    from public.active_game_sessions_v2 s left join public.purchases p on p.id = s.purchase_id
    where s.status in ('active', 'paused', 'ready')
), mended as (
    update public.active_game_sessions_v2 s
    set minutes_total = r.total, minutes_used = least(greatest(coalesce(r.minutes_used, 0), 0), r.total),
        status = case when r.place > 1 then 'cancelled' else r.status end,
        ended_at = case when r.place > 1 then now() else r.ended_at end,
        started_at = case when r.status = 'ready' then r.started_at else coalesce(r.started_at, now()) end,
        last_countdown_at = case when r.status = 'ready' then null else coalesce(r.last_countdown_at, r.paused_at, now()) end,
        paused_at = case when r.status = 'paused' then coalesce(r.paused_at, r.last_countdown_at, now()) end
    from ranked r
    where r.id = s.id
      and (r.place > 1 or r.minutes_total is distinct from r.total or r.minutes_used is null
           or r.minutes_used not between 0 and r.total or (r.status <> 'ready' and r.last_countdown_at is null)
           or (r.status = 'paused' and r.paused_at is null))
    returning s.*
)
insert into public.session_events (session_id, purchase_id, what, "by", before, after)
select m.id, m.purchase_id, 'adopt', 'hearken migrate', to_jsonb(s), to_jsonb(m)
from mended m join public.active_game_sessions_v2 s on s.id = m.id;

do $$
begin
    if exists (select from pg_attribute where attrelid = 'public.active_game_sessions_v2'::regclass
                 and attname = 'minutes_remaining' and not attisdropped and attgenerated = '') then
        alter table public.active_game_sessions_v2 drop column minutes_remaining;
    end if;
    alter table public.active_game_sessions_v2 add column if not exists
        minutes_remaining integer generated always as (minutes_total - minutes_used) stored;
end
$$;

-- A constraint that old rows break holds for what is written from now on, and says so.
do $$
declare
    rule record;
begin
    for rule in select * from (values
        ('purchases', 'purchases_payment_status', $c$check (payment_status in
            ('pending', 'completed', 'failed', 'refunded', 'cancelled'))$c$),
        ('purchases', 'purchases_session_status', $c$check (session_status in
            ('pending', 'reserved', 'ready', 'active', 'paused', 'completed', 'expired', 'cancelled'))$c$),
        ('purchases', 'purchases_minutes', 'check (minutes >= 0)'),
        ('purchases', 'purchases_amount', 'check (amount_cents >= 0)'),
        ('purchases', 'purchases_currency', $c$check (currency ~ '^[A-Z]{3}$')$c$),
        ('purchases', 'purchases_reserved', $c$check (session_status <> 'reserved' or scheduled_for is not null)$c$),
        ('invoices', 'invoices_status', $c$check (status in ('pending', 'active', 'used', 'expired', 'cancelled'))$c$),
        ('invoices', 'invoices_purchase', 'foreign key (purchase_id) references public.purchases (id)'),
        ('active_game_sessions_v2', 'active_game_sessions_v2_status', $c$check (status in
            ('ready', 'active', 'paused', 'completed', 'expired', 'cancelled'))$c$),
        ('active_game_sessions_v2', 'active_game_sessions_v2_minutes', $c$check (minutes_total is not null
            and minutes_used is not null and minutes_used between 0 and minutes_total)$c$),
        ('active_game_sessions_v2', 'active_game_sessions_v2_purchase',
            'foreign key (purchase_id) references public.purchases (id)')
    ) as r (tab, name, definition)
    loop
        execute format('alter table public.%I add constraint %I %s not valid', rule.tab, rule.name, rule.definition);
        begin
            execute format('alter table public.%I validate constraint %I', rule.tab, rule.name);
        exception when check_violation or foreign_key_violation then
            raise warning 'rows of public.% break %: it holds for new ones only', rule.tab, rule.name
                using hint = format('Mend them, then: alter table public.%I validate constraint %I.', rule.tab, rule.name);
        end;
    end loop;
end
$$;

-- A purchase is sold once and played once at a time. `unique` cannot be put off: what breaks it must be mended first.
create unique index if not exists invoices_purchase_once on public.invoices (purchase_id);
create unique index if not exists invoices_number on public.invoices (number);
create unique index if not exists invoices_qr_content on public.invoices (qr_content);
-- Also what the countdown finds the active sessions by. A session that is counted down changes none of the columns that
-- are indexed, so it stays in its page.
create unique index if not exists active_game_sessions_v2_live on public.active_game_sessions_v2 (purchase_id)
    where status in ('ready', 'active', 'paused');
create index if not exists active_game_sessions_v2_purchase on public.active_game_sessions_v2 (purchase_id, id);
alter table public.active_game_sessions_v2 set (fillfactor = 70);
create index if not exists purchases_reserved on public.purchases (scheduled_for) where session_status = 'reserved';
create index if not exists invoices_overdue on public.invoices (expires_at)
    where status in ('pending', 'active');
create index if not exists purchases_created on public.purchases (created_at);
create unique index if not exists session_events_event on public.session_events (event_id);
create index if not exists session_events_session on public.session_events (session_id, id);
create index if not exists session_events_created on public.session_events (created_at);
create unique index if not exists invoice_audit_log_event on public.invoice_audit_log (event_id);
create index if not exists invoice_audit_log_invoice on public.invoice_audit_log (invoice_id, id);
create index if not exists invoice_audit_log_created on public.invoice_audit_log (created_at);

comment on table public.purchases is 'What was bought. session_status is a copy that follow_session keeps.';
comment on column public.purchases.amount_cents is 'In minor units of the currency.';
comment on column public.purchases.minutes is 'Minutes bought; null or 0: a package without playing time, which gets no session.';
comment on column public.purchases.session_status is
    'Null until paid; pending or reserved until the invoice is scanned; from then on the status of the session; expired too when nobody scanned it in time.';
comment on column public.purchases.scheduled_for is 'Reserved for this time: until then the invoice cannot be scanned.';
comment on table public.invoices is 'One for each paid purchase; scanning its code makes the session.';
comment on column public.invoices.status is
    'pending: not scanned yet; active: scanned, its session lives; used, expired or cancelled: over.';
comment on column public.invoices.expires_at is 'From then on it cannot be scanned; null: never.';
comment on table public.active_game_sessions_v2 is 'Playing time, counted down by the minute; at most one live session per purchase.';
comment on column public.active_game_sessions_v2.last_countdown_at is 'Up to here minutes_used has been counted.';
comment on table public.session_events is 'Append-only: what happened to each session, when (created_at), by whom.';
comment on table public.invoice_audit_log is 'Append-only: what happened to each invoice, when (created_at), by whom.';
comment on column public.session_events.what is 'insert, update or delete (as in the log), or adopt, when a migration mended the row.';
comment on column public.session_events.before is 'update: former values of what changed; delete: the whole row.';
comment on column public.session_events.after is 'The row as it then was; null for delete.';
comment on column public.invoice_audit_log.what is 'insert, update or delete, as in the log.';
comment on column public.invoice_audit_log.before is 'update: former values of what changed; delete: the whole row.';
comment on column public.invoice_audit_log.after is 'The row as it then was; null for delete.';
comment on table public.session_suspects is 'Where to look for purchases that disagree with their session.';
