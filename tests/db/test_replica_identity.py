"""Promise: a publication FOR ALL TABLES, as change data capture makes by default, breaks none of our writes."""

from __future__ import annotations

from contextlib import suppress
from typing import LiteralString

import pytest
from psycopg import errors

from tests.db.test_schema_snapshot import default_handlers
from tests.support.watched import connect
from worker.install.migrate import migrate

UNIDENTIFIED: LiteralString = """
select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('hearken', 'public') and c.relkind in ('r', 'p')
  and case c.relreplident
      when 'f' then false
      when 'd' then not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
      else true end
order by 1
"""
OURS: LiteralString = """
select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('hearken', 'public') and c.relkind in ('r', 'p') order by 1
"""


async def test_every_table_of_ours_tells_its_rows_apart(empty_database_url: str) -> None:
    """Of the engine and of every system, partitions included: a key, or the whole row."""
    async with connect(empty_database_url) as connection:
        await migrate(connection, default_handlers())
        assert await (await connection.execute(UNIDENTIFIED)).fetchall() == []


async def test_rows_of_every_table_can_be_deleted_under_a_publication(empty_database_url: str) -> None:
    """What the server itself says of each."""
    async with connect(empty_database_url) as connection:
        await migrate(connection, default_handlers())
        await connection.execute("create table careless (id int)")
        await connection.execute("create publication everything for all tables")
        for table in await (await connection.execute(OURS)).fetchall():
            delete = f"delete from {table['name']}".encode()
            if table["name"] == "careless":
                await connection.execute("insert into careless values (1)")
                with pytest.raises(errors.ObjectNotInPrerequisiteState):
                    await connection.execute(delete)
            else:
                with suppress(errors.InsufficientPrivilege):  # from a trigger of what is append-only, which comes later
                    await connection.execute(delete)
