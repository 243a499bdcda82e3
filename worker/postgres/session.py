"""What a session of ours is like, whatever the server, the database, the role, the URL or the environment have set.

`database` makes each connection so when it is opened, and again after each use by code that is not ours. Names and
meanings: https://www.postgresql.org/docs/current/runtime-config-client.html
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

PINNED: Mapping[str, str] = {
    # Rows that a policy hides would pass for deleted ones: with this the server refuses instead.
    "row_security": "off",
    # The cursor's protocol is made for statements that see what was committed before each of them.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A batch waits for the outside world, the listening connection for changes: their limits are the engine's.
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "exit_on_error": "off",
    # Keepalives of the server's own: the locks of a worker whose machine is gone must not outlive it for hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    # How values are written and read.
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "xmlbinary": "base64",
    "xmloption": "content",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}
READ_ONLY: Mapping[str, str] = {"default_transaction_read_only": "on"}
# The engine reads by index whatever the values are, so planning anew each time only costs; and a plan made while a
# day's partition was empty must not read it whole when it is full.
BY_INDEX: Mapping[str, str] = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}

# A batch is short, and a delivery that is not goes on beside it. So the server ends the transaction of a worker that is
# frozen, or cut off, and another takes its cursor.
BATCH: Mapping[str, str] = {**BY_INDEX, "idle_in_transaction_session_timeout": "5000"}

# A name that an older server does not know is left out.
PIN = sql.SQL("""
select pg_catalog.set_config(s.name, s.value, false)
from unnest({names}::text[], {values}::text[]) s (name, value)
where pg_catalog.current_setting(s.name, true) is not null
""")
# What DISCARD ALL does, but for prepared statements: psycopg would go on to use those of its own that the server has
# forgotten. Statements that SQL has prepared are told of, for the connection to be given up.
CLEAN = sql.SQL("""
reset session authorization; reset role; reset all; close all; unlisten *; discard temp; discard sequences;
select pg_catalog.pg_advisory_unlock_all();
{pin};
select exists (select from pg_catalog.pg_prepared_statements where from_sql) as leftover
""")


def pin(settings: Mapping[str, str]) -> sql.Composed:
    """The statement that sets them for the session."""
    return PIN.format(names=sql.Literal(list(settings)), values=sql.Literal(list(settings.values())))


def clean(settings: Mapping[str, str]) -> bytes:
    """The statements, sent as one message, that make a used session as good as new, with these settings.

    They run inside a transaction too, and then hold once it commits; its own advisory locks stay.
    """
    return CLEAN.format(pin=pin(settings)).as_bytes()
