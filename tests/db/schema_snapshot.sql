table hearken.actions
        -- What persons did: append-only.
    id bigint not null generated always as identity
    at timestamp with time zone not null default clock_timestamp()
    by text not null
        -- user@host of the command.
    action text not null
        -- retry, skip, pause, resume, confirm, forget or rebase; others may come.
    handler text
        -- Whom it was about. Topic, key and event_id are null where it was about the handler as a whole.
    topic text
    key text
    event_id bigint
    reason text
    details jsonb
        -- What was before: such as attempt and reason of a dead event, or what the brake saw.
    constraint actions_pkey PRIMARY KEY (id)
    CREATE INDEX actions_event ON hearken.actions USING btree (event_id)
    CREATE INDEX actions_key ON hearken.actions USING hash (key)

sequence hearken.actions_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.backfills
        -- Snapshot events for existing rows (hearken backfill): what is running, and what has ended.
    id bigint not null generated always as identity
    topic text not null
    condition text
        -- The SQL condition of --where.
    handlers text[]
        -- Whom the events are for; null for all.
    last_key text
        -- The key up to which rows have been read, in the order of the primary key.
    aside text[] not null default '{}'::text[]
        -- Keys of rows that a writer held when they were passed: done last.
    passed bigint not null default 0
    appended bigint not null default 0
    by text not null
    started_at timestamp with time zone not null default now()
    moved_at timestamp with time zone not null default now()
    ended_at timestamp with time zone
    constraint backfills_pkey PRIMARY KEY (id)
    CREATE INDEX backfills_open ON hearken.backfills USING btree (topic) WHERE (ended_at IS NULL)

sequence hearken.backfills_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.brakes
    handler text not null
    at timestamp with time zone not null default now()
    target pg_snapshot not null
        -- The end of the window that it saw.
    deleted bigint not null
        -- Rows deleted in it; archived: rows whose active column turned false or null.
    archived bigint not null
    truncated boolean not null
    of_rows bigint
        -- Rows that the table had before, where that was the reason.
    most integer not null
        -- HEARKEN_BRAKE_MAX at the time.
    released_at timestamp with time zone
    passed pg_snapshot
    constraint brakes_pkey PRIMARY KEY (handler)

table hearken.cursors options: autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000
    handler text not null
    shard integer not null
    seq bigint not null default 0
    shards integer not null
    topics text[] not null
    cluster text not null
    done pg_snapshot not null
    target pg_snapshot
    last_id bigint not null default 0
    max_id bigint not null default 0
    moved_at timestamp with time zone not null default now()
    constraint cursors_check CHECK ((shards > shard))
    constraint cursors_pkey PRIMARY KEY (handler, shard, seq)
    constraint cursors_shard_check CHECK ((shard >= 0))

table hearken.effects
    id bigint not null generated always as identity
    event_id bigint not null
    handler text not null
    topic text not null
    key text
    step text not null
    base text not null
        -- handler:key:step:hash of the parameters; with :generation it is the idempotency key.
    generation integer not null
    state text not null default 'started'::text
    object_id text
    request_id text
    changed jsonb
    error text
    started_at timestamp with time zone not null default now()
    ended_at timestamp with time zone
    constraint effects_generation_check CHECK ((generation >= 0))
    constraint effects_pkey PRIMARY KEY (id)
    constraint effects_state_check CHECK ((state = ANY (ARRAY['started'::text, 'done'::text, 'failed'::text])))
    CREATE INDEX effects_base ON hearken.effects USING btree (base)
    CREATE INDEX effects_key ON hearken.effects USING btree (topic, key)

sequence hearken.effects_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

partitioned table hearken.events partitioned: RANGE (at)
        -- The log: append-only, partitioned by day on at.
    id bigint not null default nextval('hearken.events_id_seq'::regclass)
    tx xid8 not null default pg_current_xact_id()
        -- The transaction that appended the event; what a cursor's snapshots are compared with.
    at timestamp with time zone not null default clock_timestamp()
    topic text collate "C" not null
    op text collate "C" not null
    key text collate "C"
    old json
        -- update: former values of the columns that differ; delete: the whole row.
    new json
    origin text
        -- The handler that caused the change (setting hearken.origin); it gets no event for it.
    note jsonb
        -- What the application said about the change (setting hearken.note).
    replay_of bigint
    target text[]
        -- The handlers a replay is for; null for all.
    constraint events_op_check CHECK ((op = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text, 'truncate'::text, 'snapshot'::text, 'tick'::text, 'request'::text])))
    CREATE INDEX events_topic_id ON ONLY hearken.events USING btree (topic, id)
    CREATE INDEX events_topic_tx ON ONLY hearken.events USING btree (topic, tx)

table hearken.events_default parent: hearken.events bound: DEFAULT
    id bigint not null default nextval('hearken.events_id_seq'::regclass)
    tx xid8 not null default pg_current_xact_id()
    at timestamp with time zone not null default clock_timestamp()
    topic text collate "C" not null
    op text collate "C" not null
    key text collate "C"
    old json
    new json
    origin text
    note jsonb
    replay_of bigint
    target text[]
    constraint events_op_check CHECK ((op = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text, 'truncate'::text, 'snapshot'::text, 'tick'::text, 'request'::text])))
    CREATE INDEX events_default_topic_id_idx ON hearken.events_default USING btree (topic, id)
    CREATE INDEX events_default_topic_tx_idx ON hearken.events_default USING btree (topic, tx)

sequence hearken.events_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.migrations
    area text not null
    version integer not null
    name text not null
    checksum text not null
    applied_at timestamp with time zone not null default now()
    constraint migrations_pkey PRIMARY KEY (area, version)

table hearken.package_syncs
        -- Bulk syncs of packages, and how far each has come.
    id bigint not null generated always as identity
    started_at timestamp with time zone not null default now()
    ended_at timestamp with time zone
    completed boolean not null default false
    options jsonb not null
    "position" uuid
    profiles integer not null default 0
    successful integer not null default 0
    failed integer not null default 0
    packages integer not null default 0
    errors text[] not null default '{}'::text[]
    seconds double precision not null default 0
    constraint package_syncs_pkey PRIMARY KEY (id)

sequence hearken.package_syncs_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.parked
    handler text not null
    event_id bigint not null
    topic text not null
    key text
    slot bigint default hashtextextended(COALESCE(key, ''::text), (0)::bigint)
        -- Hash of the key: keys may be null, and too long for an index.
    state text not null
    attempt integer not null
        -- How many attempts have failed.
    due_at timestamp with time zone not null default now()
    reason text
    error text
        -- The traceback of the last failure.
    parked_at timestamp with time zone not null default now()
    constraint parked_attempt_check CHECK ((attempt >= 0))
    constraint parked_pkey PRIMARY KEY (handler, event_id)
    constraint parked_state_check CHECK ((state = ANY (ARRAY['due'::text, 'held'::text, 'dead'::text])))
    CREATE INDEX parked_due ON hearken.parked USING btree (handler, due_at) WHERE (state = 'due'::text)
    CREATE INDEX parked_slot ON hearken.parked USING btree (handler, slot, event_id)

table hearken.paused
    handler text not null
    at timestamp with time zone not null default now()
    by text not null
    reason text not null
    constraint paused_pkey PRIMARY KEY (handler)

table hearken.runs
    event_id bigint not null
    topic text not null
    source text not null
    state text not null default 'queued'::text
        -- waiting: an attempt failed and another comes; superseded: a newer tick counted instead; dead: a person must look.
    idempotency_key text
    body_hash text
        -- Of the request's body: the same Idempotency-Key with another body is refused.
    attempt integer not null default 0
    asked_at timestamp with time zone not null default clock_timestamp()
    started_at timestamp with time zone
    ended_at timestamp with time zone
    progress json
        -- What the handler last said: {"done": 3, "total": 10, "text": "…"}.
    result json
    error text
        -- The outcome's reason; the traceback is in hearken.parked.
    constraint runs_attempt_check CHECK ((attempt >= 0))
    constraint runs_pkey PRIMARY KEY (event_id)
    constraint runs_source_check CHECK ((source = ANY (ARRAY['tick'::text, 'http'::text, 'cli'::text, 'replay'::text])))
    constraint runs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text, 'succeeded'::text, 'skipped'::text, 'superseded'::text, 'dead'::text])))
    CREATE INDEX runs_open ON hearken.runs USING btree (topic) WHERE (ended_at IS NULL)
    CREATE INDEX runs_topic ON hearken.runs USING btree (topic, event_id)
    CREATE UNIQUE INDEX runs_idempotency ON hearken.runs USING btree (topic, idempotency_key) WHERE (idempotency_key IS NOT NULL)

table hearken.schedules
        -- The schedules of handlers declared with @every, as the last migration found them.
    handler text not null
    name text not null
    cron text not null
    tz text not null
    catch_up text not null
    last_due timestamp with time zone not null
        -- Up to here nothing is owed: the newest tick, or when the schedule was enrolled.
    constraint schedules_catch_up_check CHECK ((catch_up = ANY (ARRAY['one'::text, 'all'::text, 'skip'::text])))
    constraint schedules_name_key UNIQUE (name)
    constraint schedules_pkey PRIMARY KEY (handler)

table hearken.stripe_account
        -- Another account or mode is refused. Emptying it gives the catalogue to the account of the next contact.
    only_row boolean not null default true
    account text not null
    mode text not null
    recorded_at timestamp with time zone not null default now()
    constraint stripe_account_mode_check CHECK ((mode = ANY (ARRAY['test'::text, 'live'::text])))
    constraint stripe_account_only_row_check CHECK (only_row)
    constraint stripe_account_pkey PRIMARY KEY (only_row)

table public.bookings
    id uuid not null default gen_random_uuid()
    profile_id uuid
    starts_at timestamp with time zone
    created_at timestamp with time zone not null default now()
    constraint bookings_pkey PRIMARY KEY (id)
    constraint bookings_profile_id_fkey FOREIGN KEY (profile_id) REFERENCES profiles(id) ON DELETE SET NULL
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.bookings REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_69292528ccd3_insert()
        -- hearken 0537eba8f4bc63fd

table public.crm_customer_mapping
        -- Which customer of the CRM a profile is, and how that was found; without a customer, the last attempt.
    profile_id uuid not null
    crm_customer_id text
    match_method text
    match_confidence numeric(3,2)
    candidates jsonb not null default '[]'::jsonb
    attempted_at timestamp with time zone not null default now()
    matched_at timestamp with time zone
    synced_at timestamp with time zone
    constraint crm_customer_mapping_candidates_check CHECK ((jsonb_typeof(candidates) = 'array'::text))
    constraint crm_customer_mapping_check CHECK (((crm_customer_id IS NULL) OR (match_method IS NOT NULL)))
    constraint crm_customer_mapping_match_confidence_check CHECK (((match_confidence >= (0)::numeric) AND (match_confidence <= (1)::numeric)))
    constraint crm_customer_mapping_pkey PRIMARY KEY (profile_id)
    constraint crm_customer_mapping_profile_id_fkey FOREIGN KEY (profile_id) REFERENCES profiles(id) ON DELETE CASCADE

table public.packages
        -- A copy of what the CRM has; written by the worker alone.
    crm_package_id text not null
    crm_customer_id text not null
    package_name text not null
    total_hours numeric
    used_hours numeric
    remaining_hours numeric
    purchase_date date
    first_use_date date
    expiration_date date
    source_updated_at timestamp with time zone not null
    seen_at timestamp with time zone not null
    removed_at timestamp with time zone
    constraint packages_pkey PRIMARY KEY (crm_package_id)
    CREATE INDEX packages_customer ON public.packages USING btree (crm_customer_id)

table public.profiles
    id uuid not null default gen_random_uuid()
    name text
    email text
    phone_number text
    last_login_at timestamp with time zone
    created_at timestamp with time zone not null default now()
    updated_at timestamp with time zone not null default now()
    constraint profiles_pkey PRIMARY KEY (id)
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.profiles REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_484fb0ce3df2_insert()
        -- hearken e01474d47f5f1335
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.profiles REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_484fb0ce3df2_update()
        -- hearken 76777880dd144495

table public.spaces
    id bigint not null generated as identity
    name text not null
    description text
    capacity integer
    price_per_hour numeric
    is_active boolean not null default true
    stripe_product_id text
    stripe_price_id text
    created_at timestamp with time zone not null default now()
    updated_at timestamp with time zone not null default now()
    constraint spaces_pkey PRIMARY KEY (id)
    CREATE TRIGGER hearken_delete AFTER DELETE ON public.spaces REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_delete()
        -- hearken a7a5c96f7a0dad03
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.spaces REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_insert()
        -- hearken 41b18a384abf661b
    CREATE TRIGGER hearken_truncate AFTER TRUNCATE ON public.spaces FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_truncate()
        -- hearken b1232d5ec29ad040
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.spaces REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_update()
        -- hearken 9faa1f64db54cd6b

sequence public.spaces_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    insert into hearken.events (topic, op, key, "old", origin, note)
    select 'public.spaces', 'delete', r."id"::text, row_to_json(r.*), origin, note from "old_rows" r;
    get diagnostics captured = row_count;
    if captured > 0 then
        perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                     else pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    insert into hearken.events (topic, op, key, "new", origin, note)
    select 'public.spaces', 'insert', r."id"::text, row_to_json(r.*), origin, note from "new_rows" r;
    get diagnostics captured = row_count;
    if captured > 0 then
        perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                     else pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_truncate()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    insert into hearken.events (topic, op, origin, note) values ('public.spaces', 'truncate', origin, note);
    captured := 1;
    if captured > 0 then
        perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                     else pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    with appended as (
        insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.spaces', case when o."id" is null then 'insert' else 'update' end, r."id"::text,
               case when o."id" is not null then ('{' || array_to_string(array[case when o."id" is distinct from r."id" then '"id":' || coalesce(to_json(o."id")::text, 'null') end, case when o."name" is distinct from r."name" then '"name":' || coalesce(to_json(o."name")::text, 'null') end, case when o."description" is distinct from r."description" then '"description":' || coalesce(to_json(o."description")::text, 'null') end, case when o."capacity" is distinct from r."capacity" then '"capacity":' || coalesce(to_json(o."capacity")::text, 'null') end, case when o."price_per_hour" is distinct from r."price_per_hour" then '"price_per_hour":' || coalesce(to_json(o."price_per_hour")::text, 'null') end, case when o."is_active" is distinct from r."is_active" then '"is_active":' || coalesce(to_json(o."is_active")::text, 'null') end, case when o."stripe_product_id" is distinct from r."stripe_product_id" then '"stripe_product_id":' || coalesce(to_json(o."stripe_product_id")::text, 'null') end, case when o."stripe_price_id" is distinct from r."stripe_price_id" then '"stripe_price_id":' || coalesce(to_json(o."stripe_price_id")::text, 'null') end, case when o."created_at" is distinct from r."created_at" then '"created_at":' || coalesce(to_json(o."created_at")::text, 'null') end, case when o."updated_at" is distinct from r."updated_at" then '"updated_at":' || coalesce(to_json(o."updated_at")::text, 'null') end], ',') || '}')::json end, row_to_json(r.*), origin, note
        from new_rows r left join old_rows o on r."id" = o."id"
        where o."id" is null or o."name" is distinct from r."name" or o."description" is distinct from r."description" or o."capacity" is distinct from r."capacity" or o."price_per_hour" is distinct from r."price_per_hour" or o."is_active" is distinct from r."is_active" or o."stripe_product_id" is distinct from r."stripe_product_id" or o."stripe_price_id" is distinct from r."stripe_price_id"
        returning op)
    select count(*), bool_or(op = 'insert') into captured, rekeyed from appended;
    if rekeyed then
        insert into hearken.events (topic, op, key, old, origin, note)
        select 'public.spaces', 'delete', r."id"::text, row_to_json(r.*), origin, note
        from old_rows r left join new_rows o on r."id" = o."id" where o."id" is null;
    end if;
    if captured > 0 then
        perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                     else pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_484fb0ce3df2_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    insert into hearken.events (topic, op, key, "new", origin, note)
    select 'public.profiles', 'insert', r."id"::text, (select row_to_json(kept.*) from (select r."id", r."last_login_at", r."created_at", r."updated_at") kept), origin, note from "new_rows" r;
    get diagnostics captured = row_count;
    if captured > 0 then
        perform case when pg_try_advisory_lock(5528535878740492814) then pg_advisory_unlock(5528535878740492814)::text
                     else pg_notify('hearken_484fb0ce3df28849', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_484fb0ce3df2_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    with appended as (
        insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.profiles', case when o."id" is null then 'insert' else 'update' end, r."id"::text,
               case when o."id" is not null then ('{' || array_to_string(array[case when o."id" is distinct from r."id" then '"id":' || coalesce(to_json(o."id")::text, 'null') end, case when o."last_login_at" is distinct from r."last_login_at" then '"last_login_at":' || coalesce(to_json(o."last_login_at")::text, 'null') end, case when o."created_at" is distinct from r."created_at" then '"created_at":' || coalesce(to_json(o."created_at")::text, 'null') end, case when o."updated_at" is distinct from r."updated_at" then '"updated_at":' || coalesce(to_json(o."updated_at")::text, 'null') end], ',') || '}')::json end, (select row_to_json(kept.*) from (select r."id", r."last_login_at", r."created_at", r."updated_at") kept), origin, note
        from new_rows r left join old_rows o on r."id" = o."id"
        where o."id" is null or o."last_login_at" is distinct from r."last_login_at"
        returning op)
    select count(*), bool_or(op = 'insert') into captured, rekeyed from appended;
    if rekeyed then
        insert into hearken.events (topic, op, key, old, origin, note)
        select 'public.profiles', 'delete', r."id"::text, (select row_to_json(kept.*) from (select r."id", r."last_login_at", r."created_at", r."updated_at") kept), origin, note
        from old_rows r left join new_rows o on r."id" = o."id" where o."id" is null;
    end if;
    if captured > 0 then
        perform case when pg_try_advisory_lock(5528535878740492814) then pg_advisory_unlock(5528535878740492814)::text
                     else pg_notify('hearken_484fb0ce3df28849', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_69292528ccd3_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
declare
    origin text := nullif(current_setting('hearken.origin', true), '');
    note jsonb := case when current_setting('hearken.note', true) <> '' then hearken.note() end;
    captured bigint;
    rekeyed boolean;
begin
    insert into hearken.events (topic, op, key, "new", origin, note)
    select 'public.bookings', 'insert', r."id"::text, row_to_json(r.*), origin, note from "new_rows" r;
    get diagnostics captured = row_count;
    if captured > 0 then
        perform case when pg_try_advisory_lock(1050360622179970482) then pg_advisory_unlock(1050360622179970482)::text
                     else pg_notify('hearken_69292528ccd33ae3', '')::text end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.claim(lock bigint, its_handler text, its_shard integer)
 RETURNS TABLE(claimed boolean, cursor_row hearken.cursors, parked boolean, paused boolean)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    claimed := pg_try_advisory_xact_lock(lock);
    if claimed then
        select c.* into cursor_row from hearken.cursors c where c.handler = its_handler and c.shard = its_shard
        order by c.seq desc limit 1;
        parked := exists (select from hearken.parked p where p.handler = its_handler);
        paused := exists (select from hearken.paused p where p.handler = its_handler);
    end if;
    return next;
end $function$

CREATE OR REPLACE FUNCTION hearken.clock()
 RETURNS timestamp with time zone
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select clock_timestamp() $function$

CREATE OR REPLACE FUNCTION hearken.fall_asleep(locks bigint[])
 RETURNS text[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    open text[];
begin
    perform pg_advisory_lock_shared(l) from unnest(locks) l;
    select array_agg(l.transactionid::text) into open from pg_locks l
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted;
    return coalesce(open, '{}');
end $function$

CREATE OR REPLACE FUNCTION hearken.note()
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    said text := nullif(current_setting('hearken.note', true), '');
begin
    if said is null then
        return null;
    end if;
    return said::jsonb;
exception when others then
    return to_jsonb(said);
end $function$

CREATE OR REPLACE FUNCTION hearken.sound(document json)
 RETURNS json
 LANGUAGE plpgsql
 IMMUTABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform document::jsonb;
    return document;
exception when others then
    return to_json(document::text);
end $function$

CREATE OR REPLACE FUNCTION hearken.unseen(its_topics text[], done pg_snapshot)
 RETURNS TABLE(first_id bigint, last_id bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
    select min(u.id), max(u.id)
    from unnest(its_topics) t (topic) cross join lateral (
        (select e.id from hearken.events e
         where e.topic = t.topic and e.tx >= pg_snapshot_xmax(done) order by e.tx offset 0)
        union all
        (select e.id from pg_snapshot_xip(done) x (tx) cross join lateral (
             select i.id from hearken.events i where i.topic = t.topic and i.tx between x.tx and x.tx
             order by i.tx offset 0) e)) u
$function$
