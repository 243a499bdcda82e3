-- A publication FOR ALL TABLES takes ours in too, and then refuses each UPDATE and DELETE of a table of which it cannot
-- tell one row from another. The log has no primary key: an index more is paid by every writer, this by deletes alone.
do $$
declare
    part regclass;
begin
    for part in
        select 'hearken.events'::regclass union all
        select i.inhrelid::regclass from pg_catalog.pg_inherits i where i.inhparent = 'hearken.events'::regclass
    loop
        execute format('alter table %s replica identity full', part);
    end loop;
end $$;
