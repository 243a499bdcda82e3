-- What became of each tick and each request: one row per event of topics `tick/…` and `request/…`. A request's row is
-- made with its event, so that an Idempotency-Key is taken once; a tick's when it is first delivered.
create table hearken.runs (
    event_id        bigint      primary key,
    topic           text        not null,
    source          text        not null check (source in ('tick', 'http', 'cli', 'replay')),
    state           text        not null default 'queued' check (state in
        ('queued', 'running', 'waiting', 'succeeded', 'skipped', 'superseded', 'dead')),
    idempotency_key text,
    body_hash       text,
    attempt         integer     not null default 0 check (attempt >= 0),
    asked_at        timestamptz not null default clock_timestamp(),
    started_at      timestamptz,
    ended_at        timestamptz,
    progress        json,
    result          json,
    error           text
);
create unique index runs_idempotency on hearken.runs (topic, idempotency_key) where idempotency_key is not null;
create index runs_topic on hearken.runs (topic, event_id);
create index runs_open on hearken.runs (topic) where ended_at is null;

comment on column hearken.runs.state is 'waiting: an attempt failed and another comes; superseded: a newer tick counted instead; dead: a person must look.';
comment on column hearken.runs.body_hash is 'Of the request''s body: the same Idempotency-Key with another body is refused.';
comment on column hearken.runs.progress is 'What the handler last said: {"done": 3, "total": 10, "text": "…"}.';
comment on column hearken.runs.error is 'The outcome''s reason; the traceback is in hearken.parked.';
