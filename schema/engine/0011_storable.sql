-- A row's key may be longer than an index entry of a b-tree: 2,704 bytes. One such key failed every effect of its events.
drop index hearken.effects_key;
create index effects_key on hearken.effects using hash (key);
create index effects_topic on hearken.effects (topic, id);

-- One member of a row as text, null where the document as a whole cannot be read so: json is stored as it came, and a NUL
-- or a lone surrogate anywhere in it fails the operator.
create function hearken.member(document json, name text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp as $$
begin
    return document ->> name;
exception when others then
    return null;
end $$;
