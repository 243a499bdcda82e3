-- The canary: each worker has a row, and a change of `sent` goes the way of every event. The handler at the end of that
-- way writes `returned`. A worker that ends removes its row; those of workers that were killed are removed by the others.
create table hearken.canary (
    worker      text        primary key,
    sent        bigint      not null,
    sent_at     timestamptz not null,
    returned    bigint      not null default 0,
    returned_at timestamptz
);

comment on table hearken.canary is 'One row per running worker: the last beat it has sent through the log, and the last that came back.';
comment on column hearken.canary.sent is 'The number of the newest beat; the one column whose change makes an event.';
