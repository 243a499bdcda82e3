-- The clock that retention goes by: it never runs more than twice as fast as the server's was seen to run, so that a
-- server's clock that jumps ahead makes nothing look old at once.
create table hearken.retention (
    only_row boolean     primary key default true check (only_row),
    trusted  timestamptz not null default now(),
    seen     timestamptz not null default now()
);
insert into hearken.retention default values;

comment on table hearken.retention is 'One row: the time that retention goes by, which follows the server''s clock.';
comment on column hearken.retention.seen is 'What the server''s clock said when it was looked at last.';
