-- To open a window must not mean to read it. A cursor knows from which id on its events come, and up to which one the
-- brake has looked.
alter table hearken.cursors add column seen_id bigint not null default 0;
alter table hearken.cursors add column seen_tx xid8 not null default '0';
alter table hearken.cursors add column target_id bigint not null default 0;
alter table hearken.cursors add column target_tx xid8 not null default '0';
alter table hearken.cursors add column done_id bigint not null default 0;
alter table hearken.cursors add column floor_id bigint not null default 0;
alter table hearken.cursors add column judged_id bigint not null default 0;
alter table hearken.cursors add column deleted bigint not null default 0;
alter table hearken.cursors add column archived bigint not null default 0;

comment on column hearken.cursors.seen_tx is 'The transaction of the last move. Every later one has events with greater ids than seen_id only.';
comment on column hearken.cursors.target_tx is 'seen_tx when `target` was taken; so with target_id.';
comment on column hearken.cursors.done_id is 'What `done` does not show has a greater id, but for what was long in flight in it.';
comment on column hearken.cursors.floor_id is 'What `done` does not show has a greater id.';
comment on column hearken.cursors.judged_id is 'How far the brake has looked into the open window; deleted, archived: what it has counted.';
