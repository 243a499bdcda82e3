"""The role that the README grants to a worker, on a database of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.pages import Block


@contextmanager
def granted_role(url: str, grants: Block) -> Iterator[str]:
    """The URL by which it connects; the role is gone afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop role if exists hearken_worker")
        connection.execute(grants.text.encode())
        connection.execute("alter role hearken_worker password 'worker'")
        try:
            yield make_conninfo(url, user="hearken_worker", password="worker")
        finally:
            connection.execute("drop owned by hearken_worker")
            connection.execute("drop role hearken_worker")
