-- A row's key may be longer than an index entry of a b-tree: 2,704 bytes. One such key failed every effect of its events.
drop index hearken.effects_key;
create index effects_key on hearken.effects using hash (key);
create index effects_topic on hearken.effects (topic, id);
