-- The Stripe account and mode this database belongs to since its first contact with Stripe: one row at most.
create table hearken.stripe_account (
    only_row    boolean     primary key default true check (only_row),
    account     text        not null,
    mode        text        not null check (mode in ('test', 'live')),
    recorded_at timestamptz not null default now()
);

comment on table hearken.stripe_account is
    'Another account or mode is refused. Emptying it gives the catalogue to the account of the next contact.';
