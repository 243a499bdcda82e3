-- What a person did to the engine: who, when, why. Append-only, and written in the transaction that does it. Kept as
-- long as the database: there are few, and they are asked for long after the log has dropped what they were about.
create table hearken.actions (
    id       bigint      generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    by       text        not null,
    action   text        not null,
    handler  text,
    topic    text,
    key      text,
    event_id bigint,
    reason   text,
    details  jsonb
);
create index actions_event on hearken.actions (event_id);
create index actions_key on hearken.actions using hash (key);  -- keys may be too long for a btree

comment on table hearken.actions is 'What persons did: append-only.';
comment on column hearken.actions.by is 'user@host of the command.';
comment on column hearken.actions.action is 'retry, skip, pause, resume, confirm, forget or rebase; others may come.';
comment on column hearken.actions.handler is 'Whom it was about. Topic, key and event_id are null where it was about the handler as a whole.';
comment on column hearken.actions.details is 'What was before: such as attempt and reason of a dead event, or what the brake saw.';

-- The brake: what a window held when it stopped the handler, one row per handler. It is on while `released_at` is null;
-- then the handler is in hearken.paused too, which is what stops its workers. `passed` is the window's end that a person
-- let pass last: what is visible in it is not counted again.
create table hearken.brakes (
    handler     text        primary key,
    at          timestamptz not null default now(),
    target      pg_snapshot not null,
    deleted     bigint      not null,
    archived    bigint      not null,
    truncated   boolean     not null,
    of_rows     bigint,
    most        integer     not null,
    released_at timestamptz,
    passed      pg_snapshot
);

comment on column hearken.brakes.target is 'The end of the window that it saw.';
comment on column hearken.brakes.deleted is 'Rows deleted in it; archived: rows whose active column turned false or null.';
comment on column hearken.brakes.of_rows is 'Rows that the table had before, where that was the reason.';
comment on column hearken.brakes.most is 'HEARKEN_BRAKE_MAX at the time.';
