-- When each schedule was last dealt with: everything due up to `last_due` is in the log (or was left out, as catch_up
-- says). A worker that appends ticks locks the row, so however many there are, each due time makes one tick.
create table hearken.schedules (
    handler  text        primary key,
    name     text        not null unique,
    cron     text        not null,
    tz       text        not null,
    catch_up text        not null check (catch_up in ('one', 'all', 'skip')),
    last_due timestamptz not null
);

comment on table hearken.schedules is 'The schedules of handlers declared with @every, as the last migration found them.';
comment on column hearken.schedules.last_due is 'Up to here nothing is owed: the newest tick, or when the schedule was enrolled.';

-- The clock that schedules go by: the database's, so that workers whose own clocks differ agree.
create function hearken.clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp as $$ select clock_timestamp() $$;
