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

table hearken.canary
        -- One row per running worker: the last beat it has sent through the log, and the last that came back.
    worker text not null
    sent bigint not null
        -- The number of the newest beat; the one column whose change makes an event.
    sent_at timestamp with time zone not null
    returned bigint not null default 0
    returned_at timestamp with time zone
    constraint canary_pkey PRIMARY KEY (worker)

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
    seen_id bigint not null default 0
    seen_tx xid8 not null default '0'::xid8
        -- The transaction of the last move. Every later one has events with greater ids than seen_id only.
    target_id bigint not null default 0
    target_tx xid8 not null default '0'::xid8
        -- seen_tx when `target` was taken; so with target_id.
    done_id bigint not null default 0
        -- What `done` does not show has a greater id, but for what was long in flight in it.
    floor_id bigint not null default 0
        -- What `done` does not show has a greater id.
    judged_id bigint not null default 0
        -- How far the brake has looked into the open window; deleted, archived: what it has counted.
    deleted bigint not null default 0
    archived bigint not null default 0
    constraint cursors_check CHECK ((shards > shard))
    constraint cursors_pkey PRIMARY KEY (handler, shard, seq)
    constraint cursors_shard_check CHECK ((shard >= 0))

table hearken.declarations
        -- The declaration of each handler, as `hearken migrate` found it last.
    handler text not null
    declaration jsonb not null
    declared_at timestamp with time zone not null default now()
    constraint declarations_pkey PRIMARY KEY (handler)

table hearken.effects
    id bigint not null generated always as identity
    event_id bigint not null
    handler text not null
    topic text not null
    key text
    step text not null
    base text not null
        -- handler:key:step:hash of the parameters; with :generation and :era it is the idempotency key.
    generation integer not null
    state text not null default 'started'::text
    object_id text
    request_id text
    changed jsonb
    error text
    started_at timestamp with time zone not null default now()
    ended_at timestamp with time zone
    era text not null default ''::text
    constraint effects_generation_check CHECK ((generation >= 0))
    constraint effects_pkey PRIMARY KEY (id)
    constraint effects_state_check CHECK ((state = ANY (ARRAY['started'::text, 'done'::text, 'failed'::text])))
    CREATE INDEX effects_base ON hearken.effects USING btree (base)
    CREATE INDEX effects_key ON hearken.effects USING hash (key)
    CREATE INDEX effects_topic ON hearken.effects USING btree (topic, id)

sequence hearken.effects_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

partitioned table hearken.events partitioned: RANGE (at) replica identity: full
        -- The log: append-only, partitioned by day on at.
    id bigint not null default nextval('hearken.events_id_seq'::regclass)
    tx xid8 not null default pg_current_xact_id()
        -- The transaction that appended the event; what a cursor's snapshots are compared with.
    at timestamp with time zone not null default clock_timestamp()
    topic text collate "C" not null
    op text collate "C" not null
    key text collate "C"
    old json
        -- update: the former row, or those columns of it that differ; delete: the whole row.
    new json
    origin text
        -- The handler that caused the change (setting hearken.origin); it gets no event for it.
    note jsonb
        -- What the application said about the change (setting hearken.note).
    replay_of bigint
    target text[]
        -- The handlers a replay is for; null for all.
    left_out text[]
        -- Columns whose values could not be written: too large, or their JSON cannot be built.
    CREATE INDEX events_topic_id ON ONLY hearken.events USING btree (topic, id)
    CREATE INDEX events_topic_tx ON ONLY hearken.events USING btree (topic, tx)

table hearken.events_default parent: hearken.events bound: DEFAULT replica identity: full
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
    left_out text[]
    CREATE INDEX events_default_key ON hearken.events_default USING brin (key text_bloom_ops (n_distinct_per_range='-0.2')) WITH (pages_per_range='16')
    CREATE INDEX events_default_topic_id_idx ON hearken.events_default USING btree (topic, id)
    CREATE INDEX events_default_topic_tx_idx ON hearken.events_default USING btree (topic, tx)

sequence hearken.events_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.former_declarations
    id bigint not null generated always as identity
    handler text not null
    shard integer not null
    shards integer not null
    declaration jsonb
        -- Null: the handler was new, nothing before was for it.
    done pg_snapshot not null
    target pg_snapshot
    last_id bigint not null
    ended_at timestamp with time zone not null default now()
    constraint former_declarations_pkey PRIMARY KEY (id)
    CREATE INDEX former_declarations_handler ON hearken.former_declarations USING btree (handler, id)

sequence hearken.former_declarations_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table hearken.lost_events
    cluster text not null
    timeline text not null
    handler text not null
    event_id bigint not null
    topic text not null
    key text
    at timestamp with time zone not null
    constraint lost_events_cluster_timeline_fkey FOREIGN KEY (cluster, timeline) REFERENCES hearken.timelines(cluster, timeline)
    constraint lost_events_pkey PRIMARY KEY (cluster, timeline, handler, event_id)

table hearken.migrations
    area text not null
    version integer not null
    name text not null
    checksum text not null
    applied_at timestamp with time zone not null default now()
    constraint migrations_pkey PRIMARY KEY (area, version)

table hearken.moves
    handler text not null
    topic text not null
    heard text[] not null
        -- The topics whose events go along.
    seen pg_snapshot
        -- Where this round began; null for the first.
    target pg_snapshot not null
    last_id bigint not null
        -- How far this round has come, up to its target.
    large boolean not null default false
        -- Whether this round had more than one batch.
    copies xid8[] not null default '{}'::xid8[]
        -- The transactions that appended: what the cursor has yet to see once it is moved.
    began_at timestamp with time zone not null default now()
    constraint moves_pkey PRIMARY KEY (handler)

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
    worker bigint
        -- Who runs it: the key of an advisory lock that this worker holds while it lives.
    starts integer not null default 0
        -- How often it was begun with this row in place and not ended, because its process died.
    constraint parked_attempt_check CHECK ((attempt >= 0))
    constraint parked_pkey PRIMARY KEY (handler, event_id)
    constraint parked_starts_check CHECK ((starts >= 0))
    constraint parked_state_check CHECK ((state = ANY (ARRAY['due'::text, 'held'::text, 'dead'::text, 'running'::text])))
    constraint parked_worker_check CHECK (((state = 'running'::text) = (worker IS NOT NULL)))
    CREATE INDEX parked_due ON hearken.parked USING btree (handler, due_at) WHERE (state = 'due'::text)
    CREATE INDEX parked_running ON hearken.parked USING btree (handler, slot) WHERE (state = 'running'::text)
    CREATE INDEX parked_slot ON hearken.parked USING btree (handler, slot, event_id)

table hearken.paused
    handler text not null
    at timestamp with time zone not null default now()
    by text not null
    reason text not null
    constraint paused_pkey PRIMARY KEY (handler)

table hearken.retention
        -- One row: the time that retention goes by, which follows the server's clock.
    only_row boolean not null default true
    trusted timestamp with time zone not null default now()
    seen timestamp with time zone not null default now()
        -- What the server's clock said when it was looked at last.
    constraint retention_only_row_check CHECK (only_row)
    constraint retention_pkey PRIMARY KEY (only_row)

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

table hearken.timelines
    cluster text not null
    timeline text not null
    noticed_at timestamp with time zone not null default clock_timestamp()
    settled_at timestamp with time zone
        -- When a person said that outside systems agree again (hearken failover --confirm).
    constraint timelines_pkey PRIMARY KEY (cluster, timeline)

table hearken.uncaptured
        -- Changes that are missing from the log, and why: backfill the table of the topic.
    at timestamp with time zone not null default clock_timestamp()
    tx xid8 not null default pg_current_xact_id()
    topic text not null
    op text not null
    error text not null
    constraint uncaptured_pkey PRIMARY KEY (at, tx)

table hearken.workers
    worker bigint not null
    started_at timestamp with time zone not null default clock_timestamp()
    noticed_at timestamp with time zone
        -- When another worker noticed first that it is gone.
    constraint workers_pkey PRIMARY KEY (worker)

table public.active_game_sessions_v2 options: fillfactor=70
        -- Playing time, counted down by the minute; at most one live session per purchase.
    id bigint not null generated as identity
    purchase_id bigint not null
    status text collate "C" not null default 'ready'::text
    minutes_total integer not null
    minutes_used integer not null default 0
    minutes_remaining integer default (minutes_total - minutes_used)
    created_at timestamp with time zone not null default now()
    started_at timestamp with time zone
    last_countdown_at timestamp with time zone
        -- Up to here minutes_used has been counted.
    paused_at timestamp with time zone
    ended_at timestamp with time zone
    constraint active_game_sessions_v2_minutes CHECK (((minutes_total IS NOT NULL) AND (minutes_used IS NOT NULL) AND ((minutes_used >= 0) AND (minutes_used <= minutes_total))))
    constraint active_game_sessions_v2_pkey PRIMARY KEY (id)
    constraint active_game_sessions_v2_purchase FOREIGN KEY (purchase_id) REFERENCES purchases(id)
    constraint active_game_sessions_v2_status CHECK ((status = ANY (ARRAY['ready'::text, 'active'::text, 'paused'::text, 'completed'::text, 'expired'::text, 'cancelled'::text])))
    CREATE INDEX active_game_sessions_v2_purchase ON public.active_game_sessions_v2 USING btree (purchase_id, id)
    CREATE UNIQUE INDEX active_game_sessions_v2_live ON public.active_game_sessions_v2 USING btree (purchase_id) WHERE (status = ANY (ARRAY['ready'::text, 'active'::text, 'paused'::text]))
    CREATE TRIGGER hearken_delete AFTER DELETE ON public.active_game_sessions_v2 REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_86e00de72afa_delete()
        -- hearken b9909870e7a64024
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.active_game_sessions_v2 REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_86e00de72afa_insert()
        -- hearken 5816be115abf2ba8
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.active_game_sessions_v2 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_86e00de72afa_update()
        -- hearken 31559edfb8f68237
    CREATE TRIGGER sessions_keep_time BEFORE UPDATE ON public.active_game_sessions_v2 FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND ((new.status = ANY (ARRAY['active'::text, 'paused'::text])) OR (new.ended_at IS NULL)))) EXECUTE FUNCTION sessions_keep_time()
    CREATE TRIGGER sessions_no_truncate BEFORE TRUNCATE ON public.active_game_sessions_v2 FOR EACH STATEMENT EXECUTE FUNCTION sessions_refuse_truncate()
    CREATE TRIGGER sessions_refuse_first AFTER INSERT ON public.active_game_sessions_v2 FOR EACH ROW WHEN ((new.status <> 'ready'::text)) EXECUTE FUNCTION sessions_refuse('session', 'status', 'A session begins as ready.')
    CREATE TRIGGER sessions_refuse_id AFTER UPDATE ON public.active_game_sessions_v2 FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION sessions_refuse('session', 'id', 'The id of a session stays.')
    CREATE TRIGGER sessions_refuse_purchase AFTER UPDATE ON public.active_game_sessions_v2 FOR EACH ROW WHEN ((old.purchase_id <> new.purchase_id)) EXECUTE FUNCTION sessions_refuse('session', 'purchase_id', 'A session stays with its purchase.')
    CREATE TRIGGER sessions_refuse_status AFTER UPDATE ON public.active_game_sessions_v2 FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND (NOT
        CASE old.status
            WHEN 'ready'::text THEN (new.status = ANY (ARRAY['active'::text, 'expired'::text, 'cancelled'::text]))
            WHEN 'active'::text THEN (new.status = ANY (ARRAY['paused'::text, 'completed'::text, 'expired'::text, 'cancelled'::text]))
            WHEN 'paused'::text THEN (new.status = ANY (ARRAY['active'::text, 'completed'::text, 'expired'::text, 'cancelled'::text]))
            ELSE false
        END))) EXECUTE FUNCTION sessions_refuse('session', 'status', 'ready → active, expired, cancelled; active ↔ paused; both → completed, expired, cancelled.')
    CREATE TRIGGER sessions_say_who BEFORE INSERT OR DELETE OR UPDATE ON public.active_game_sessions_v2 FOR EACH STATEMENT EXECUTE FUNCTION sessions_say_who()
    CREATE TRIGGER sessions_suspect_delete AFTER DELETE ON public.active_game_sessions_v2 REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION sessions_suspect() -- enabled: A
    CREATE TRIGGER sessions_suspect_insert AFTER INSERT ON public.active_game_sessions_v2 REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sessions_suspect() -- enabled: A
    CREATE TRIGGER sessions_suspect_update AFTER UPDATE ON public.active_game_sessions_v2 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sessions_suspect() -- enabled: A

sequence public.active_game_sessions_v2_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

view public.active_invoices
        -- Invoices to scan or in play, with the time that is left.
    invoice_id bigint
    number text
    purchase_id bigint
    user_id bigint
    package_name text
    status text collate "C"
    session_id bigint
    session_status text collate "C"
    minutes_remaining integer
    expires_at timestamp with time zone
    time_to_scan interval

table public.bookings
    id uuid not null default gen_random_uuid()
    profile_id uuid
    starts_at timestamp with time zone
    created_at timestamp with time zone not null default now()
    constraint bookings_pkey PRIMARY KEY (id)
    constraint bookings_profile_id_fkey FOREIGN KEY (profile_id) REFERENCES profiles(id) ON DELETE SET NULL
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.bookings REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_69292528ccd3_insert()
        -- hearken b4cb89c71f6e9a51

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

table public.invoice_audit_log
        -- Append-only: what happened to each invoice, when (created_at), by whom.
    id bigint not null generated as identity
    invoice_id bigint not null
    purchase_id bigint
    what text collate "C" not null
        -- insert, update or delete, as in the log.
    by text
    before jsonb
        -- update: former values of what changed; delete: the whole row.
    after jsonb
        -- The row as it then was; null for delete.
    event_id bigint
    created_at timestamp with time zone not null default now()
    constraint invoice_audit_log_pkey PRIMARY KEY (id)
    CREATE INDEX invoice_audit_log_created ON public.invoice_audit_log USING btree (created_at)
    CREATE INDEX invoice_audit_log_invoice ON public.invoice_audit_log USING btree (invoice_id, id)
    CREATE UNIQUE INDEX invoice_audit_log_event ON public.invoice_audit_log USING btree (event_id)
    CREATE TRIGGER sessions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.invoice_audit_log FOR EACH STATEMENT EXECUTE FUNCTION sessions_refuse_rewriting()

sequence public.invoice_audit_log_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

table public.invoices
        -- One for each paid purchase; scanning its code makes the session.
    id bigint not null generated as identity
    purchase_id bigint not null
    number text not null
    qr_content text not null
    status text collate "C" not null default 'pending'::text
        -- pending: not scanned yet; active: scanned, its session lives; used, expired or cancelled: over.
    expires_at timestamp with time zone
        -- From then on it cannot be scanned; null: never.
    created_at timestamp with time zone not null default now()
    updated_at timestamp with time zone not null default now()
    constraint invoices_pkey PRIMARY KEY (id)
    constraint invoices_purchase FOREIGN KEY (purchase_id) REFERENCES purchases(id)
    constraint invoices_status CHECK ((status = ANY (ARRAY['pending'::text, 'active'::text, 'used'::text, 'expired'::text, 'cancelled'::text])))
    CREATE INDEX invoices_overdue ON public.invoices USING btree (expires_at) WHERE (status = ANY (ARRAY['pending'::text, 'active'::text]))
    CREATE UNIQUE INDEX invoices_number ON public.invoices USING btree (number)
    CREATE UNIQUE INDEX invoices_purchase_once ON public.invoices USING btree (purchase_id)
    CREATE UNIQUE INDEX invoices_qr_content ON public.invoices USING btree (qr_content)
    CREATE TRIGGER hearken_delete AFTER DELETE ON public.invoices REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_380648f54b4d_delete()
        -- hearken 06c83f62b26daa34
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.invoices REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_380648f54b4d_insert()
        -- hearken 774ef39b9509199c
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.invoices REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_380648f54b4d_update()
        -- hearken ffdb71b033c2b117
    CREATE TRIGGER sessions_no_truncate BEFORE TRUNCATE ON public.invoices FOR EACH STATEMENT EXECUTE FUNCTION sessions_refuse_truncate()
    CREATE TRIGGER sessions_refuse_first AFTER INSERT ON public.invoices FOR EACH ROW WHEN ((new.status <> 'pending'::text)) EXECUTE FUNCTION sessions_refuse('invoice', 'status', 'An invoice begins as pending.')
    CREATE TRIGGER sessions_refuse_status AFTER UPDATE ON public.invoices FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND (NOT
        CASE old.status
            WHEN 'pending'::text THEN (new.status = ANY (ARRAY['active'::text, 'expired'::text, 'cancelled'::text]))
            WHEN 'active'::text THEN (new.status = ANY (ARRAY['used'::text, 'expired'::text, 'cancelled'::text]))
            ELSE false
        END))) EXECUTE FUNCTION sessions_refuse('invoice', 'status', 'pending → active, expired, cancelled; active → used, expired, cancelled.')
    CREATE TRIGGER sessions_say_who BEFORE INSERT OR DELETE OR UPDATE ON public.invoices FOR EACH STATEMENT EXECUTE FUNCTION sessions_say_who()

sequence public.invoices_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

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
        -- hearken d28b0e437f19745c
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.profiles REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_484fb0ce3df2_update()
        -- hearken fd878c822adecaf2

view public.purchase_session_overview
        -- Purchases beside their sessions; sync_status says whether they agree.
    purchase_id bigint
    user_id bigint
    package_name text
    payment_status text collate "C"
    purchase_session_status text collate "C"
    session_id bigint
    session_status text collate "C"
    minutes_total integer
    minutes_used integer
    minutes_remaining integer
    sync_status text
    created_at timestamp with time zone

table public.purchases
        -- What was bought. session_status is a copy that follow_session keeps.
    id bigint not null generated as identity
    user_id bigint
    package_name text
    minutes integer
        -- Minutes bought; null or 0: a package without playing time, which gets no session.
    amount_cents bigint not null default 0
        -- In minor units of the currency.
    currency text not null default 'EUR'::text
    payment_status text collate "C" not null default 'pending'::text
    session_status text collate "C"
        -- Null until paid; pending or reserved until the invoice is scanned; from then on the status of the session; expired too when nobody scanned it in time.
    scheduled_for timestamp with time zone
        -- Reserved for this time: until then the invoice cannot be scanned.
    paid_at timestamp with time zone
    created_at timestamp with time zone not null default now()
    updated_at timestamp with time zone not null default now()
    constraint purchases_amount CHECK ((amount_cents >= 0))
    constraint purchases_currency CHECK ((currency ~ '^[A-Z]{3}$'::text))
    constraint purchases_minutes CHECK ((minutes >= 0))
    constraint purchases_payment_status CHECK ((payment_status = ANY (ARRAY['pending'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'cancelled'::text])))
    constraint purchases_pkey PRIMARY KEY (id)
    constraint purchases_reserved CHECK (((session_status <> 'reserved'::text) OR (scheduled_for IS NOT NULL)))
    constraint purchases_session_status CHECK ((session_status = ANY (ARRAY['pending'::text, 'reserved'::text, 'ready'::text, 'active'::text, 'paused'::text, 'completed'::text, 'expired'::text, 'cancelled'::text])))
    CREATE INDEX purchases_created ON public.purchases USING btree (created_at)
    CREATE INDEX purchases_reserved ON public.purchases USING btree (scheduled_for) WHERE (session_status = 'reserved'::text)
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.purchases REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_abde1b82e9df_insert()
        -- hearken 628e71c107e1a6f9
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.purchases REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_abde1b82e9df_update()
        -- hearken fd7778f7efdffabe
    CREATE TRIGGER sessions_no_truncate BEFORE TRUNCATE ON public.purchases FOR EACH STATEMENT EXECUTE FUNCTION sessions_refuse_truncate()
    CREATE TRIGGER sessions_refuse_status AFTER UPDATE ON public.purchases FOR EACH ROW WHEN (((old.payment_status IS DISTINCT FROM new.payment_status) AND (NOT
        CASE old.payment_status
            WHEN 'pending'::text THEN (new.payment_status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text]))
            WHEN 'failed'::text THEN (new.payment_status = ANY (ARRAY['pending'::text, 'completed'::text, 'cancelled'::text]))
            WHEN 'completed'::text THEN (new.payment_status = 'refunded'::text)
            ELSE false
        END))) EXECUTE FUNCTION sessions_refuse('purchase', 'payment_status', 'pending → completed, failed, cancelled; failed → pending, completed, cancelled; completed → refunded.')
    CREATE TRIGGER sessions_say_who BEFORE INSERT OR DELETE OR UPDATE ON public.purchases FOR EACH STATEMENT EXECUTE FUNCTION sessions_say_who()
    CREATE TRIGGER sessions_suspect_insert AFTER INSERT ON public.purchases REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sessions_suspect() -- enabled: A
    CREATE TRIGGER sessions_suspect_update AFTER UPDATE ON public.purchases REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sessions_suspect() -- enabled: A

sequence public.purchases_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

view public.session_disagreements
        -- Purchases whose session_status is not what their session says (due). Ask for some of them by purchase_id.
    purchase_id bigint
    session_status text collate "C"
    session_id bigint
    due text collate "C"

table public.session_events
        -- Append-only: what happened to each session, when (created_at), by whom.
    id bigint not null generated as identity
    session_id bigint not null
    purchase_id bigint
    what text collate "C" not null
        -- insert, update or delete (as in the log), or adopt, when a migration mended the row.
    by text
    before jsonb
        -- update: former values of what changed; delete: the whole row.
    after jsonb
        -- The row as it then was; null for delete.
    event_id bigint
    created_at timestamp with time zone not null default now()
    constraint session_events_pkey PRIMARY KEY (id)
    CREATE INDEX session_events_created ON public.session_events USING btree (created_at)
    CREATE INDEX session_events_session ON public.session_events USING btree (session_id, id)
    CREATE UNIQUE INDEX session_events_event ON public.session_events USING btree (event_id)
    CREATE TRIGGER sessions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.session_events FOR EACH STATEMENT EXECUTE FUNCTION sessions_refuse_rewriting()

sequence public.session_events_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

view public.session_summary
        -- Sessions with what they belong to.
    session_id bigint
    purchase_id bigint
    user_id bigint
    package_name text
    invoice_number text
    status text collate "C"
    minutes_total integer
    minutes_used integer
    minutes_remaining integer
    percent_used numeric
    created_at timestamp with time zone
    started_at timestamp with time zone
    last_countdown_at timestamp with time zone
    paused_at timestamp with time zone
    ended_at timestamp with time zone

table public.session_suspects replica identity: full
        -- Where to look for purchases that disagree with their session.
    purchase_id bigint not null
    since timestamp with time zone not null default now()
    CREATE INDEX session_suspects_purchase ON public.session_suspects USING btree (purchase_id)

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
        -- hearken 0d1666a17dca3246
    CREATE TRIGGER hearken_insert AFTER INSERT ON public.spaces REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_insert()
        -- hearken 46b8223d16bfb44f
    CREATE TRIGGER hearken_truncate AFTER TRUNCATE ON public.spaces FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_truncate()
        -- hearken caf79fa48123e1cc
    CREATE TRIGGER hearken_update AFTER UPDATE ON public.spaces REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION hearken.capture_30ccd8d8f1a6_update()
        -- hearken 8c68e0f8fc666b66

sequence public.spaces_id_seq
    bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1

CREATE OR REPLACE FUNCTION public.activate_invoice(code text)
 RETURNS active_game_sessions_v2
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.cancel_session(session_id bigint)
 RETURNS active_game_sessions_v2
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select * from public.sessions_move(session_id, '{ready, active, paused}', 'cancelled')
$function$

CREATE OR REPLACE FUNCTION public.countdown_active_sessions(OUT counted bigint, OUT ended bigint, OUT due bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.expire_overdue_invoices(OUT invoices bigint, OUT sessions bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'spaces' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.spaces';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."spaces"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, old, origin, note)
        select 'public.spaces', 'delete', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select null::text as "id", null::text as "name", null::text as "description", null::text as "stripe_product_id", null::text as "stripe_price_id") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small from old_rows x) b) r where ((hearken.fits('"public"."spaces"', '21f5840edf071e1006a12502f693b8f5') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, origin, note, left_out)
        select %1$L, ''delete'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select null::text as "id", null::text as "name", null::text as "description", null::text as "stripe_product_id", null::text as "stripe_price_id") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small from old_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."spaces"'', ''21f5840edf071e1006a12502f693b8f5'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'spaces' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.spaces';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."spaces"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.spaces', 'insert', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id", ''::text as "name", ''::text as "description", ''::text as "stripe_product_id", ''::text as "stripe_price_id") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small from new_rows x) b) r where ((hearken.fits('"public"."spaces"', '21f5840edf071e1006a12502f693b8f5') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id", ''''::text as "name", ''''::text as "description", ''''::text as "stripe_product_id", ''''::text as "stripe_price_id") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."spaces"'', ''21f5840edf071e1006a12502f693b8f5'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_truncate()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'spaces' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.spaces';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."spaces"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    begin
        insert into hearken.events (topic, op, origin, note) values (topic, 'truncate', nullif(current_setting('hearken.origin', true), ''), noted);
        captured := 1;
    exception when others then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
    end;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_30ccd8d8f1a6_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'spaces' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.spaces';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."spaces"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.spaces', 'update', r.k, case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "name", null::text as "description", null::text as "capacity", null::text as "price_per_hour", null::text as "is_active", null::text as "stripe_product_id", null::text as "stripe_price_id", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from old_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) o cross join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "name", ''::text as "description", ''::text as "capacity", ''::text as "price_per_hour", ''::text as "is_active", ''::text as "stripe_product_id", ''::text as "stripe_price_id", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from new_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) r
        where case when o.k = r.k then o.watched operator(pg_catalog.*<>) r.watched and ((hearken.fits('"public"."spaces"', '21f5840edf071e1006a12502f693b8f5') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null)
                   else set_config('hearken.many', 'on', true) is null end;
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.spaces', case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), (select nullif(current_setting('hearken.origin', true), '')), (select noted)
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "name", null::text as "description", null::text as "capacity", null::text as "price_per_hour", null::text as "is_active", null::text as "stripe_product_id", null::text as "stripe_price_id", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from old_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "name", ''::text as "description", ''::text as "capacity", ''::text as "price_per_hour", ''::text as "is_active", ''::text as "stripe_product_id", ''::text as "stripe_price_id", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from new_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and ((hearken.fits('"public"."spaces"', '21f5840edf071e1006a12502f693b8f5') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
            get diagnostics captured = row_count;
        end if;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows union all select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, new, origin, note, left_out)
        select %1$L, case when o.k is null then ''insert'' when r.k is null then ''delete'' else ''update'' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, (select nullif(current_setting(''hearken.origin'', true), '''')), (select %6$L::jsonb), %4$L::text[]
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "name", null::text as "description", null::text as "capacity", null::text as "price_per_hour", null::text as "is_active", null::text as "stripe_product_id", null::text as "stripe_price_id", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from old_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''''::text as "id", ''''::text as "name", ''''::text as "description", ''''::text as "capacity", ''''::text as "price_per_hour", ''''::text as "is_active", ''''::text as "stripe_product_id", ''''::text as "stripe_price_id", ''''::text as "created_at", ''''::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("name"), 0) + coalesce(pg_column_size("description"), 0) + coalesce(pg_column_size("stripe_product_id"), 0) + coalesce(pg_column_size("stripe_price_id"), 0) < 65536 as small, row("name", "description", "capacity", "price_per_hour", "is_active", "stripe_product_id", "stripe_price_id")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "name" as "w0", "description" as "w1", "capacity" as "w2", "price_per_hour" as "w3", "is_active" as "w4", "stripe_product_id" as "w5", "stripe_price_id" as "w6" from new_rows x) b cross join lateral (select b."w0" as "name", b."w1" as "description", b."w2" as "capacity", b."w3" as "price_per_hour", b."w4" as "is_active", b."w5" as "stripe_product_id", b."w6" as "stripe_price_id") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."spaces"'', ''21f5840edf071e1006a12502f693b8f5'') and coalesce("o".small, true) and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock( -7975185623630100811) then pg_advisory_unlock( -7975185623630100811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_30ccd8d8f1a67670', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_380648f54b4d_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'invoices' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.invoices';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."invoices"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, old, origin, note)
        select 'public.invoices', 'delete', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select null::text as "id", null::text as "number", null::text as "qr_content", null::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small from old_rows x) b) r where ((hearken.fits('"public"."invoices"', 'a3851db9cd0d8dc88f46128a0f5fff4c') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, origin, note, left_out)
        select %1$L, ''delete'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select null::text as "id", null::text as "number", null::text as "qr_content", null::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small from old_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."invoices"'', ''a3851db9cd0d8dc88f46128a0f5fff4c'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(3760701802554535919) then pg_advisory_unlock(3760701802554535919)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_380648f54b4df0d6', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_380648f54b4d_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'invoices' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.invoices';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."invoices"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.invoices', 'insert', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id", ''::text as "number", ''::text as "qr_content", ''::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small from new_rows x) b) r where ((hearken.fits('"public"."invoices"', 'a3851db9cd0d8dc88f46128a0f5fff4c') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id", ''''::text as "number", ''''::text as "qr_content", ''''::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."invoices"'', ''a3851db9cd0d8dc88f46128a0f5fff4c'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(3760701802554535919) then pg_advisory_unlock(3760701802554535919)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_380648f54b4df0d6', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_380648f54b4d_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'invoices' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.invoices';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."invoices"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.invoices', 'update', r.k, pg_catalog.row_to_json(o.image), pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select null::text as "id", null::text as "number", null::text as "qr_content", null::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from old_rows x) b) o cross join (select b.* from (select ''::text as "id", ''::text as "number", ''::text as "qr_content", ''::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from new_rows x) b) r
        where case when o.k = r.k then o.watched operator(pg_catalog.*<>) r.watched and ((hearken.fits('"public"."invoices"', 'a3851db9cd0d8dc88f46128a0f5fff4c') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null)
                   else set_config('hearken.many', 'on', true) is null end;
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.invoices', case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), pg_catalog.row_to_json(o.image), pg_catalog.row_to_json(r.image), (select nullif(current_setting('hearken.origin', true), '')), (select noted)
        from (select b.* from (select null::text as "id", null::text as "number", null::text as "qr_content", null::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from old_rows x) b) o full join (select b.* from (select ''::text as "id", ''::text as "number", ''::text as "qr_content", ''::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from new_rows x) b) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and ((hearken.fits('"public"."invoices"', 'a3851db9cd0d8dc88f46128a0f5fff4c') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
            get diagnostics captured = row_count;
        end if;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows union all select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, new, origin, note, left_out)
        select %1$L, case when o.k is null then ''insert'' when r.k is null then ''delete'' else ''update'' end,
               coalesce(r.k, o.k), o.image, r.image, (select nullif(current_setting(''hearken.origin'', true), '''')), (select %6$L::jsonb), %4$L::text[]
        from (select b.* from (select null::text as "id", null::text as "number", null::text as "qr_content", null::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from old_rows x) b) o full join (select b.* from (select ''''::text as "id", ''''::text as "number", ''''::text as "qr_content", ''''::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("number"), 0) + coalesce(pg_column_size("qr_content"), 0) + coalesce(pg_column_size("status"), 0) < 65536 as small, row(x.*)::record as watched from new_rows x) b) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."invoices"'', ''a3851db9cd0d8dc88f46128a0f5fff4c'') and coalesce("o".small, true) and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(3760701802554535919) then pg_advisory_unlock(3760701802554535919)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_380648f54b4df0d6', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_484fb0ce3df2_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'profiles' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.profiles';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."profiles"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.profiles', 'insert', r.k, r.image, nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id", ''::text as "last_login_at", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, (select pg_catalog.row_to_json(kept.*) from (select "id", "last_login_at", "created_at", "updated_at") kept) as image, true as small from new_rows x) b) r where ((hearken.fits('"public"."profiles"', '1c0fe14b3e88c4b6e14f6018a27b8435') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, '{id,last_login_at,created_at,updated_at}') loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id", ''''::text as "last_login_at", ''''::text as "created_at", ''''::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, true as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."profiles"'', ''1c0fe14b3e88c4b6e14f6018a27b8435'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(5528535878740492814) then pg_advisory_unlock(5528535878740492814)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_484fb0ce3df28849', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_484fb0ce3df2_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'profiles' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.profiles';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."profiles"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.profiles', 'update', r.k, case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "last_login_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, (select pg_catalog.row_to_json(kept.*) from (select "id", "last_login_at", "created_at", "updated_at") kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from old_rows x) b cross join lateral (select b."w0" as "last_login_at") w) o cross join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "last_login_at", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, (select pg_catalog.row_to_json(kept.*) from (select "id", "last_login_at", "created_at", "updated_at") kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from new_rows x) b cross join lateral (select b."w0" as "last_login_at") w) r
        where case when o.k = r.k then o.watched operator(pg_catalog.*<>) r.watched and ((hearken.fits('"public"."profiles"', '1c0fe14b3e88c4b6e14f6018a27b8435') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null)
                   else set_config('hearken.many', 'on', true) is null end;
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.profiles', case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, (select nullif(current_setting('hearken.origin', true), '')), (select noted)
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "last_login_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, (select pg_catalog.row_to_json(kept.*) from (select "id", "last_login_at", "created_at", "updated_at") kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from old_rows x) b cross join lateral (select b."w0" as "last_login_at") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "last_login_at", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, (select pg_catalog.row_to_json(kept.*) from (select "id", "last_login_at", "created_at", "updated_at") kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from new_rows x) b cross join lateral (select b."w0" as "last_login_at") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and ((hearken.fits('"public"."profiles"', '1c0fe14b3e88c4b6e14f6018a27b8435') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
            get diagnostics captured = row_count;
        end if;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, '{id,last_login_at,created_at,updated_at}') loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows union all select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, new, origin, note, left_out)
        select %1$L, case when o.k is null then ''insert'' when r.k is null then ''delete'' else ''update'' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, (select nullif(current_setting(''hearken.origin'', true), '''')), (select %6$L::jsonb), %4$L::text[]
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "last_login_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from old_rows x) b cross join lateral (select b."w0" as "last_login_at") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''''::text as "id", ''''::text as "last_login_at", ''''::text as "created_at", ''''::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, true as small, row("last_login_at")::record as watched, row("id", "created_at", "updated_at")::record as unwatched, "last_login_at" as "w0" from new_rows x) b cross join lateral (select b."w0" as "last_login_at") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."profiles"'', ''1c0fe14b3e88c4b6e14f6018a27b8435'') and coalesce("o".small, true) and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(5528535878740492814) then pg_advisory_unlock(5528535878740492814)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_484fb0ce3df28849', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_69292528ccd3_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'bookings' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.bookings';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."bookings"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.bookings', 'insert', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, true as small from new_rows x) b) r where ((hearken.fits('"public"."bookings"', '6de6971d53cfa3a68dee07ff2f4c60d3') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, true as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."bookings"'', ''6de6971d53cfa3a68dee07ff2f4c60d3'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(1050360622179970482) then pg_advisory_unlock(1050360622179970482)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_69292528ccd33ae3', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_86e00de72afa_delete()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'active_game_sessions_v2' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.active_game_sessions_v2';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."active_game_sessions_v2"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, old, origin, note)
        select 'public.active_game_sessions_v2', 'delete', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select null::text as "id", null::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small from old_rows x) b) r where ((hearken.fits('"public"."active_game_sessions_v2"', 'afc5ea6bd32e6fd9c8a5204cf5f1353b') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, origin, note, left_out)
        select %1$L, ''delete'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select null::text as "id", null::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("status"), 0) < 65536 as small from old_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."active_game_sessions_v2"'', ''afc5ea6bd32e6fd9c8a5204cf5f1353b'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(116537335977575097) then pg_advisory_unlock(116537335977575097)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_86e00de72afa6e66', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_86e00de72afa_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'active_game_sessions_v2' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.active_game_sessions_v2';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."active_game_sessions_v2"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.active_game_sessions_v2', 'insert', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id", ''::text as "status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small from new_rows x) b) r where ((hearken.fits('"public"."active_game_sessions_v2"', 'afc5ea6bd32e6fd9c8a5204cf5f1353b') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id", ''''::text as "status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("status"), 0) < 65536 as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."active_game_sessions_v2"'', ''afc5ea6bd32e6fd9c8a5204cf5f1353b'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(116537335977575097) then pg_advisory_unlock(116537335977575097)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_86e00de72afa6e66', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_86e00de72afa_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'active_game_sessions_v2' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.active_game_sessions_v2';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."active_game_sessions_v2"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.active_game_sessions_v2', 'update', r.k, case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "purchase_id", null::text as "status", null::text as "minutes_total", null::text as "minutes_used", null::text as "minutes_remaining", null::text as "created_at", null::text as "started_at", null::text as "last_countdown_at", null::text as "paused_at", null::text as "ended_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from old_rows x) b cross join lateral (select b."w0" as "status") w) o cross join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "purchase_id", ''::text as "status", ''::text as "minutes_total", ''::text as "minutes_used", ''::text as "minutes_remaining", ''::text as "created_at", ''::text as "started_at", ''::text as "last_countdown_at", ''::text as "paused_at", ''::text as "ended_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from new_rows x) b cross join lateral (select b."w0" as "status") w) r
        where case when o.k = r.k then o.watched operator(pg_catalog.*<>) r.watched and ((hearken.fits('"public"."active_game_sessions_v2"', 'afc5ea6bd32e6fd9c8a5204cf5f1353b') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null)
                   else set_config('hearken.many', 'on', true) is null end;
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.active_game_sessions_v2', case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), (select nullif(current_setting('hearken.origin', true), '')), (select noted)
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "purchase_id", null::text as "status", null::text as "minutes_total", null::text as "minutes_used", null::text as "minutes_remaining", null::text as "created_at", null::text as "started_at", null::text as "last_countdown_at", null::text as "paused_at", null::text as "ended_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from old_rows x) b cross join lateral (select b."w0" as "status") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "purchase_id", ''::text as "status", ''::text as "minutes_total", ''::text as "minutes_used", ''::text as "minutes_remaining", ''::text as "created_at", ''::text as "started_at", ''::text as "last_countdown_at", ''::text as "paused_at", ''::text as "ended_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from new_rows x) b cross join lateral (select b."w0" as "status") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and ((hearken.fits('"public"."active_game_sessions_v2"', 'afc5ea6bd32e6fd9c8a5204cf5f1353b') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
            get diagnostics captured = row_count;
        end if;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows union all select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, new, origin, note, left_out)
        select %1$L, case when o.k is null then ''insert'' when r.k is null then ''delete'' else ''update'' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, (select nullif(current_setting(''hearken.origin'', true), '''')), (select %6$L::jsonb), %4$L::text[]
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "purchase_id", null::text as "status", null::text as "minutes_total", null::text as "minutes_used", null::text as "minutes_remaining", null::text as "created_at", null::text as "started_at", null::text as "last_countdown_at", null::text as "paused_at", null::text as "ended_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from old_rows x) b cross join lateral (select b."w0" as "status") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''''::text as "id", ''''::text as "purchase_id", ''''::text as "status", ''''::text as "minutes_total", ''''::text as "minutes_used", ''''::text as "minutes_remaining", ''''::text as "created_at", ''''::text as "started_at", ''''::text as "last_countdown_at", ''''::text as "paused_at", ''''::text as "ended_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("status"), 0) < 65536 as small, row("status")::record as watched, row("id", "purchase_id", "minutes_total", "minutes_used", "minutes_remaining", "created_at", "started_at", "last_countdown_at", "paused_at", "ended_at")::record as unwatched, "status" as "w0" from new_rows x) b cross join lateral (select b."w0" as "status") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."active_game_sessions_v2"'', ''afc5ea6bd32e6fd9c8a5204cf5f1353b'') and coalesce("o".small, true) and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(116537335977575097) then pg_advisory_unlock(116537335977575097)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_86e00de72afa6e66', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_abde1b82e9df_insert()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'purchases' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.purchases';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."purchases"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        insert into hearken.events (topic, op, key, new, origin, note)
        select 'public.purchases', 'insert', r.k, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.* from (select ''::text as "id", ''::text as "package_name", ''::text as "currency", ''::text as "payment_status", ''::text as "session_status") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small from new_rows x) b) r where ((hearken.fits('"public"."purchases"', 'afd5dc4df88c3e44535deb07d82af58c') and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
        get diagnostics captured = row_count;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, new, origin, note, left_out)
        select %1$L, ''insert'', r.k, r.image, nullif(current_setting(''hearken.origin'', true), ''''), %6$L::jsonb, %4$L::text[]
        from (select b.* from (select ''''::text as "id", ''''::text as "package_name", ''''::text as "currency", ''''::text as "payment_status", ''''::text as "session_status") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small from new_rows x) b) r where not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."purchases"'', ''afd5dc4df88c3e44535deb07d82af58c'') and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(4974397455364337811) then pg_advisory_unlock(4974397455364337811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_abde1b82e9dfd061', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.capture_abde1b82e9df_update()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    renamed boolean := tg_table_name <> 'purchases' or tg_table_schema <> 'public';
    unfit boolean;
    noted jsonb;
    captured bigint := 0;
    more bigint := 0;
    topic text := 'public.purchases';
    part record;
    form text;
    size bigint;
    total bigint := 0;
    image text := '';
    left_out text[];
begin
    if (has_schema_privilege(to_regnamespace('hearken'), 'usage')
        and has_table_privilege(to_regclass('hearken.events'), 'insert')) is not true then
        begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), format('%s may not insert into hearken.events, or it is not there', current_user));
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, format('%s may not insert into hearken.events, or it is not there', current_user);
        return null;
    end if;
    if renamed and to_regclass('"public"."purchases"') is not null then
        topic := tg_table_schema || '.' || tg_table_name;
    end if;
    if current_setting('hearken.note', true) <> '' then
        begin
            noted := hearken.note();
        exception when others then
            raise warning 'hearken: a change of % is captured without its note: %', topic, sqlerrm;
        end;
    end if;
    unfit := renamed
        or has_function_privilege(to_regprocedure('hearken.fits(text,text)'), 'execute') is not true;
    if unfit then
        perform set_config('hearken.careful', 'on', true);
    else
        if exists (select from new_rows offset 1) then
            perform set_config('hearken.many', 'on', true);
        else
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.purchases', 'update', r.k, case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), nullif(current_setting('hearken.origin', true), ''), noted
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "user_id", null::text as "package_name", null::text as "minutes", null::text as "amount_cents", null::text as "currency", null::text as "payment_status", null::text as "session_status", null::text as "scheduled_for", null::text as "paid_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from old_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) o cross join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "user_id", ''::text as "package_name", ''::text as "minutes", ''::text as "amount_cents", ''::text as "currency", ''::text as "payment_status", ''::text as "session_status", ''::text as "scheduled_for", ''::text as "paid_at", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from new_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) r
        where case when o.k = r.k then o.watched operator(pg_catalog.*<>) r.watched and ((hearken.fits('"public"."purchases"', 'afd5dc4df88c3e44535deb07d82af58c') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null)
                   else set_config('hearken.many', 'on', true) is null end;
            get diagnostics captured = row_count;
        end if;
        if current_setting('hearken.many', true) = 'on' then
            perform set_config('hearken.many', '', true);
            insert into hearken.events (topic, op, key, old, new, origin, note)
        select 'public.purchases', case when o.k is null then 'insert' when r.k is null then 'delete' else 'update' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then pg_catalog.row_to_json(o.image) else o.part end, pg_catalog.row_to_json(r.image), (select nullif(current_setting('hearken.origin', true), '')), (select noted)
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "user_id", null::text as "package_name", null::text as "minutes", null::text as "amount_cents", null::text as "currency", null::text as "payment_status", null::text as "session_status", null::text as "scheduled_for", null::text as "paid_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from old_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''::text as "id", ''::text as "user_id", ''::text as "package_name", ''::text as "minutes", ''::text as "amount_cents", ''::text as "currency", ''::text as "payment_status", ''::text as "session_status", ''::text as "scheduled_for", ''::text as "paid_at", ''::text as "created_at", ''::text as "updated_at") gone cross join lateral (
            select "id"::text collate "C" as k, coalesce(x.*) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from new_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and ((hearken.fits('"public"."purchases"', 'afd5dc4df88c3e44535deb07d82af58c') and coalesce("o".small, true) and coalesce("r".small, true)) or set_config('hearken.careful', 'on', true) is null);
            get diagnostics captured = row_count;
        end if;
    end if;
    if current_setting('hearken.careful', true) = 'on' then
        perform set_config('hearken.careful', '', true);
        begin
            for part in select * from hearken.columns(tg_relid, NULL) loop
                foreach form in array array['to_json(%s)', 'to_json(concat(%s))', null] loop
                    if form is null then
                        left_out := left_out || part.name;
                        exit;
                    end if;
                    form := format(form, part.expression);
                    begin
                        execute format('select coalesce(max(n), 0) from (select octet_length((%1$s)::text) as n from old_rows union all select octet_length((%1$s)::text) as n from new_rows) m', form, part.name) into size;
                        if total + size < 100000000 then
                            total := total + size;
                            image := image || format(', %s as %I', form, part.name);
                            exit;
                        end if;
                    exception when others then
                        null;
                    end;
                end loop;
            end loop;
            execute format('insert into hearken.events (topic, op, key, old, new, origin, note, left_out)
        select %1$L, case when o.k is null then ''insert'' when r.k is null then ''delete'' else ''update'' end,
               coalesce(r.k, o.k), case when o.unwatched operator(pg_catalog.*<>) r.unwatched then o.image else o.part end, r.image, (select nullif(current_setting(''hearken.origin'', true), '''')), (select %6$L::jsonb), %4$L::text[]
        from (select b.*, pg_catalog.row_to_json(w.*) as part from (select null::text as "id", null::text as "user_id", null::text as "package_name", null::text as "minutes", null::text as "amount_cents", null::text as "currency", null::text as "payment_status", null::text as "session_status", null::text as "scheduled_for", null::text as "paid_at", null::text as "created_at", null::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from old_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) o full join (select b.*, pg_catalog.row_to_json(w.*) as part from (select ''''::text as "id", ''''::text as "user_id", ''''::text as "package_name", ''''::text as "minutes", ''''::text as "amount_cents", ''''::text as "currency", ''''::text as "payment_status", ''''::text as "session_status", ''''::text as "scheduled_for", ''''::text as "paid_at", ''''::text as "created_at", ''''::text as "updated_at") gone cross join lateral (
            select %3$s collate "C" as k, (select row_to_json(kept.*) from (select %2$s) kept) as image, coalesce(pg_column_size("package_name"), 0) + coalesce(pg_column_size("currency"), 0) + coalesce(pg_column_size("payment_status"), 0) + coalesce(pg_column_size("session_status"), 0) < 65536 as small, row("payment_status", "scheduled_for")::record as watched, row("id", "user_id", "package_name", "minutes", "amount_cents", "currency", "session_status", "paid_at", "created_at", "updated_at")::record as unwatched, "payment_status" as "w0", "scheduled_for" as "w1" from new_rows x) b cross join lateral (select b."w0" as "payment_status", b."w1" as "scheduled_for") w) r on o.k = r.k
        where (o.k is null or r.k is null or o.watched operator(pg_catalog.*<>) r.watched) and not %5$s', topic, coalesce(nullif(substr(image, 3), ''), 'null as nothing'),
                           hearken.key_now(tg_relid, '{id}', '"id"::text'), left_out,
                           case when unfit then 'false' else '(hearken.fits(''"public"."purchases"'', ''afd5dc4df88c3e44535deb07d82af58c'') and coalesce("o".small, true) and coalesce("r".small, true))' end, noted);
            get diagnostics more = row_count;
            captured := captured + more;
        exception when others then
            begin
            insert into hearken.uncaptured (topic, op, error) values (topic, lower(tg_op), sqlerrm);
        exception when others then
            null;
        end;
        raise warning 'hearken: % was not captured: %', topic, sqlerrm;
        end;
    end if;
    if captured > 0 then
        begin
            perform case when pg_try_advisory_lock(4974397455364337811) then pg_advisory_unlock(4974397455364337811)::text
                         when pg_notification_queue_usage() < 0.5
                          and (current_setting('max_prepared_transactions') = '0'
                               or current_setting('hearken.two_phase', true) = 'off')
                         then pg_notify('hearken_abde1b82e9dfd061', '')::text end;
        exception when others then
            raise warning 'hearken: a change of % wakes no worker: %', topic, sqlerrm;
        end;
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.claim(lock bigint, its_handler text, its_shard integer)
 RETURNS TABLE(claimed boolean, cursor_row hearken.cursors, parked boolean, paused boolean, declaration jsonb)
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
        declaration := (select d.declaration from hearken.declarations d where d.handler = its_handler);
    end if;
    return next;
end $function$

CREATE OR REPLACE FUNCTION hearken.clock()
 RETURNS timestamp with time zone
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select clock_timestamp() $function$

CREATE OR REPLACE FUNCTION hearken.columns(relation oid, kept text[])
 RETURNS TABLE(name text, expression text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select a.attname::text,
           format(case when coalesce(nullif(t.typbasetype, 0), t.oid) < 16384 then '%1$I'
                       else 'case when %1$I is not null then concat(%1$I) end' end, a.attname)
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
      and (kept is null or a.attname = any(kept))
    order by a.attnum
$function$

CREATE OR REPLACE FUNCTION hearken.events_of_key(its_topic text, its_key text, its_op text, since timestamp with time zone, until timestamp with time zone, most bigint)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET max_parallel_workers_per_gather TO '0'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET enable_indexscan TO 'on'
 SET enable_indexonlyscan TO 'on'
AS $function$
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
end $function$

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

CREATE OR REPLACE FUNCTION hearken.field(document json, name text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return document ->> name;
exception when others then
    return null;
end $function$

CREATE OR REPLACE FUNCTION hearken.fits(topic text, compiled text)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return coalesce(hearken.shape(to_regclass(topic)) = compiled
        and has_table_privilege(to_regclass('hearken.events'), 'insert')
        and has_sequence_privilege(to_regclass('hearken.events_id_seq'), 'usage')
        and exists (select from pg_partitioned_table where partrelid = to_regclass('hearken.events') and partdefid <> 0),
        false);
exception when others then
    return false;
end $function$

CREATE OR REPLACE FUNCTION hearken.key_now(relation oid, compiled text[], as_compiled text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    names text[];
begin
    if (select count(*) from hearken.columns(relation, compiled)) = cardinality(compiled) then
        return as_compiled;
    end if;
    select array_agg(format('%I::text', a.attname) order by k.place) into names
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    where i.indrelid = relation and i.indisprimary and k.place <= i.indnkeyatts;
    return case cardinality(names) when 1 then names[1]
           else coalesce('json_build_array(' || array_to_string(names, ', ') || ')::text', 'null::text') end;
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

CREATE OR REPLACE FUNCTION hearken.passed(its_tx xid8, its_id bigint, done pg_snapshot, target pg_snapshot, last_id bigint)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (pg_visible_in_snapshot(its_tx, done) OR ((target IS NOT NULL) AND (its_id <= last_id) AND pg_visible_in_snapshot(its_tx, target)))

CREATE OR REPLACE FUNCTION hearken.shape(relation oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select md5(string_agg(format('%s %s.%s', a.attname, n.nspname, t.typname), ',' order by a.attnum))
    from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
    where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
$function$

CREATE OR REPLACE FUNCTION hearken.shard_of(its_slot bigint, its_shards integer)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((its_slot & (2147483647)::bigint) % (its_shards)::bigint)

CREATE OR REPLACE FUNCTION hearken.slot_of(its_key text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(COALESCE(its_key, ''::text), (0)::bigint)

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

CREATE OR REPLACE FUNCTION hearken.touches(old json, new json, watch text[])
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    name text;
begin
    foreach name in array watch loop
        if new -> name is null or (old -> name)::text <> (new -> name)::text then
            return true;
        end if;
    end loop;
    return false;
exception when others then  -- JSON that Postgres keeps and cannot take apart (\u0000)
    return true;
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

CREATE OR REPLACE FUNCTION hearken.unseen_events(its_topic text, done pg_snapshot, most bigint DEFAULT NULL::bigint)
 RETURNS SETOF hearken.events
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    select u.* from (
        (select e.* from hearken.events e
         where e.topic = its_topic and e.tx >= pg_catalog.pg_snapshot_xmax(done) order by e.tx limit most)
        union all
        (select i.* from pg_catalog.pg_snapshot_xip(done) x (tx) cross join lateral (
             select e.* from hearken.events e
             where e.topic = its_topic and e.tx between x.tx and x.tx order by e.tx limit most) i
         where pg_catalog.pg_visible_in_snapshot(x.tx, pg_catalog.pg_current_snapshot()))) u
$function$

CREATE OR REPLACE FUNCTION hearken.worker_lives(its_worker bigint, silent_after interval)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select exists (
        select from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.classid = ((its_worker >> 32) & 4294967295)::oid and l.objid = (its_worker & 4294967295)::oid
          and coalesce(a.query_start > clock_timestamp() - silent_after, true))
$function$

CREATE OR REPLACE FUNCTION public.pause_session(session_id bigint)
 RETURNS active_game_sessions_v2
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select * from public.sessions_move(session_id, '{active}', 'paused') $function$

CREATE OR REPLACE FUNCTION public.resume_session(session_id bigint)
 RETURNS active_game_sessions_v2
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select * from public.sessions_move(session_id, '{paused}', 'active') $function$

CREATE OR REPLACE FUNCTION public.sessions_check_invoice(invoice invoices, purchase purchases, its_session active_game_sessions_v2)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.sessions_clock()
 RETURNS timestamp with time zone
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select clock_timestamp() $function$

CREATE OR REPLACE FUNCTION public.sessions_keep_time()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.sessions_move(its_id bigint, allowed text[], wanted text)
 RETURNS active_game_sessions_v2
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.sessions_refuse()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    what text := tg_argv[0];
    col text := tg_argv[1];
    was text := case when tg_op = 'UPDATE' then to_jsonb(old) ->> col else 'nothing' end;
begin
    raise exception '% %: % cannot go from % to %', what, new.id, col, was, to_jsonb(new) ->> col
        using errcode = 'check_violation', table = tg_table_name, column = col, hint = tg_argv[2];
end $function$

CREATE OR REPLACE FUNCTION public.sessions_refuse_rewriting()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception '% of %: it is append-only', tg_op, tg_table_name
        using errcode = 'insufficient_privilege', hint = 'Add a row that corrects it.';
end $function$

CREATE OR REPLACE FUNCTION public.sessions_refuse_truncate()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception 'TRUNCATE of %: each row must leave a trace', tg_table_name
        using errcode = 'insufficient_privilege', hint = 'Use DELETE.';
end $function$

CREATE OR REPLACE FUNCTION public.sessions_say_who()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    said jsonb := hearken.note();
begin
    if said ->> 'by' is null then
        said := case jsonb_typeof(said) when 'object' then said else jsonb_strip_nulls(jsonb_build_object('note', said)) end;
        perform set_config('hearken.note', (said || jsonb_build_object('by', session_user))::text, true);
    end if;
    return null;
end $function$

CREATE OR REPLACE FUNCTION public.sessions_suspect()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
AS $function$
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
end $function$

CREATE OR REPLACE FUNCTION public.sessions_underway()
 RETURNS SETOF bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
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
$function$
        -- Purchases with an event of their session that follow_session has not settled yet.

CREATE OR REPLACE FUNCTION public.sessions_whole_minutes(since timestamp with time zone, until timestamp with time zone)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE
RETURN (GREATEST(floor((EXTRACT(epoch FROM (until - since)) / (60)::numeric)), (0)::numeric))::integer

CREATE OR REPLACE FUNCTION public.start_session(session_id bigint)
 RETURNS active_game_sessions_v2
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select * from public.sessions_move(session_id, '{ready}', 'active') $function$

CREATE OR REPLACE FUNCTION public.sync_purchase_session_status()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
end $function$
