-- Customers who log in and book, and the local copy of the packages that the CRM has for them.
-- A table that exists already is used as it is, if it has the columns that are needed; the key of profiles may be
-- of any type, and what refers to a profile is made with that type.
create table if not exists public.profiles (
    id            uuid        primary key default gen_random_uuid(),
    name          text,
    email         text,
    phone_number  text,
    last_login_at timestamptz,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);

do $$
declare
    key_type text;
    missing  text;
begin
    select format_type(a.atttypid, a.atttypmod) into key_type
    from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'id' and i.indkey[0] = a.attnum
    where i.indrelid = 'public.profiles'::regclass and i.indisprimary and i.indnkeyatts = 1;
    if key_type is null then
        raise exception 'the primary key of public.profiles is not (id)'
            using hint = 'For example: alter table public.profiles add primary key (id).';
    end if;

    execute format($sql$
        create table if not exists public.bookings (
            id         uuid        primary key default gen_random_uuid(),
            profile_id %1$s        references public.profiles (id) on delete set null,
            starts_at  timestamptz,
            created_at timestamptz not null default now()
        )$sql$, key_type);

    -- Which customer of the CRM a profile is. Without a customer it is the last attempt to find one: several
    -- candidates are an ambiguous attempt, none means that nobody fits. A person may fill in crm_customer_id with
    -- match_method 'manual'; a mapping that is there is never replaced by a guess.
    execute format($sql$
        create table if not exists public.crm_customer_mapping (
            profile_id       %1$s         primary key references public.profiles (id) on delete cascade,
            crm_customer_id  text,
            match_method     text,
            match_confidence numeric(3, 2) check (match_confidence between 0 and 1),
            candidates       jsonb        not null default '[]' check (jsonb_typeof(candidates) = 'array'),
            attempted_at     timestamptz  not null default now(),
            matched_at       timestamptz,
            synced_at        timestamptz,
            check (crm_customer_id is null or match_method is not null)
        )$sql$, key_type);

    -- One row for each bulk sync. Without ended_at it is under way, or was killed: the next one goes on behind
    -- `position`, the last profile that is done.
    execute format($sql$
        create table hearken.package_syncs (
            id         bigint      primary key generated always as identity,
            started_at timestamptz not null default now(),
            ended_at   timestamptz,
            completed  boolean     not null default false,
            options    jsonb       not null,
            position   %1$s,
            profiles   integer     not null default 0,
            successful integer     not null default 0,
            failed     integer     not null default 0,
            packages   integer     not null default 0,
            errors     text[]      not null default '{}',
            seconds    double precision not null default 0
        )$sql$, key_type);

    -- source_updated_at is the CRM's own time of the row, seen_at when the CRM was last asked for it: by the two of
    -- them newer is never overwritten by older. What the CRM no longer has keeps its row, with removed_at.
    create table if not exists public.packages (
        crm_package_id    text        primary key,
        crm_customer_id   text        not null,
        package_name      text        not null,
        total_hours       numeric,
        used_hours        numeric,
        remaining_hours   numeric,
        purchase_date     date,
        first_use_date    date,
        expiration_date   date,
        source_updated_at timestamptz not null,
        seen_at           timestamptz not null,
        removed_at        timestamptz
    );
    create index if not exists packages_customer on public.packages (crm_customer_id);

    select string_agg(format('public.%s.%s', needed.place, wanted), ', ' order by needed.place, wanted) into missing
    from (values
        ('profiles', array['id', 'name', 'email', 'phone_number', 'last_login_at']),
        ('bookings', array['id', 'profile_id']),
        ('crm_customer_mapping', array['profile_id', 'crm_customer_id', 'match_method', 'match_confidence',
                                       'candidates', 'attempted_at', 'matched_at', 'synced_at']),
        ('packages', array['crm_package_id', 'crm_customer_id', 'package_name', 'total_hours', 'used_hours',
                           'remaining_hours', 'purchase_date', 'first_use_date', 'expiration_date',
                           'source_updated_at', 'seen_at', 'removed_at'])
    ) as needed (place, columns) cross join unnest(needed.columns) as wanted
    where not exists (
        select from pg_attribute
        where attrelid = to_regclass('public.' || needed.place) and attname = wanted and not attisdropped
    );
    if missing is not null then
        raise exception 'tables exist but lack columns: %', missing
            using hint = 'Add them, for example: alter table public.profiles add column last_login_at timestamptz.';
    end if;
end
$$;

comment on table public.crm_customer_mapping is
    'Which customer of the CRM a profile is, and how that was found; without a customer, the last attempt.';
comment on table public.packages is 'A copy of what the CRM has; written by the worker alone.';
comment on table hearken.package_syncs is 'Bulk syncs of packages, and how far each has come.';
