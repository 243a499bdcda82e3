-- The clock that sessions go by, in one place, so that tests can set it.
create function public.sessions_clock() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp as $$ select clock_timestamp() $$;
