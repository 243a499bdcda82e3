"""Promise: a key as a person writes it is read as the events of its topic have it, whatever the table is called."""

from __future__ import annotations

import pytest

from tests.support.watched import connect
from worker.errors import UsageError
from worker.operate.keys import read_key


async def test_a_table_whose_name_has_a_slash_is_a_table(empty_database_url: str) -> None:
    """Only topics of schedules and requests, which begin with their source, have keys that are taken as they are."""
    async with connect(empty_database_url) as connection:
        await connection.execute('create table "rooms/old" (id int primary key)')
        assert await read_key(connection, "public.rooms/old", "007") == "7"
        with pytest.raises(UsageError, match="malformed key 'seven'"):
            await read_key(connection, "public.rooms/old", "seven")
        assert await read_key(connection, "request/count", "seven") == "seven"
