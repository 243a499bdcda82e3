"""What every measurement stands on: an embedded server set up as a small production one, and a clean database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from worker.dev.embedded import EmbeddedPostgres

# As delivered, with the memory of a small server: fsync and synchronous_commit stay on, since commits are measured.
SERVER = {"max_connections": "200", "shared_buffers": "256MB", "max_wal_size": "4GB"}

SPACES = """
create table spaces (
    id bigint generated always as identity primary key, name text not null, description text, capacity integer,
    price_per_hour numeric(10, 2), is_active boolean not null default true, stripe_product_id text,
    stripe_price_id text, created_at timestamptz not null default now(), updated_at timestamptz not null default now())
"""
FILL = """
insert into spaces (name, description, capacity, price_per_hour)
select 'Space ' || i, 'A quiet place to work', i %% 50 + 1, 25 + i %% 10 from generate_series(1, %s) i
"""


@contextmanager
def server() -> Iterator[EmbeddedPostgres]:
    """A server of the measurement's own, on disk."""
    with (
        tempfile.TemporaryDirectory(prefix="hearken-bench-", dir="/var/tmp") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings=SERVER) as running,
    ):
        yield running


@contextmanager
def spaces(url: str, rows: int) -> Iterator[psycopg.Connection]:
    """A connection in autocommit to a fresh `spaces` table of so many rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop schema if exists hearken cascade")
        connection.execute("drop table if exists spaces")
        connection.execute(SPACES)
        connection.execute(FILL, (rows,))
        connection.execute("vacuum analyze spaces")
        yield connection


def peak_megabytes(pid: int | str = "self") -> float:
    """The peak resident memory of a process since its program began. (`ru_maxrss` is inherited from the parent.)"""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
