-- A handler that moves to another topic, while what it has not had is appended again there: how far that has come. It
-- goes in batches, each committed by itself, in rounds: from what the handler's cursors have not passed up to `target`,
-- then from there to a newer one, until a round is small. Nobody delivers meanwhile.
create table hearken.moves (
    handler  text        primary key,
    topic    text        not null,
    heard    text[]      not null,
    seen     pg_snapshot,
    target   pg_snapshot not null,
    last_id  bigint      not null,
    large    boolean     not null default false,
    copies   xid8[]      not null default '{}',
    began_at timestamptz not null default now()
);

comment on column hearken.moves.heard is 'The topics whose events go along.';
comment on column hearken.moves.seen is 'Where this round began; null for the first.';
comment on column hearken.moves.last_id is 'How far this round has come, up to its target.';
comment on column hearken.moves.large is 'Whether this round had more than one batch.';
comment on column hearken.moves.copies is 'The transactions that appended: what the cursor has yet to see once it is moved.';
