-- As before, and false where it cannot tell: what it calls or reads may be gone, or no longer be for its caller. It runs
-- when a trigger's statement is planned, so a write pays nothing for that.
create or replace function hearken.fits(topic text, compiled text) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce(hearken.shape(to_regclass(topic)) = compiled
        and has_table_privilege(to_regclass('hearken.events'), 'insert')
        and has_sequence_privilege(to_regclass('hearken.events_id_seq'), 'usage')
        and exists (select from pg_partitioned_table where partrelid = to_regclass('hearken.events') and partdefid <> 0),
        false);
exception when others then
    return false;
end $$;
