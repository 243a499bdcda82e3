"""Promise: `hearken replay --dry-run` asks each handler about what a replay would give it, and about nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.cli import Rooms, hearken
from tests.support.planning_handlers import __name__ as MODULE
from tests.support.planning_handlers import tell_price, tell_room
from tests.support.sample_handlers import TABLES
from worker.testing import bench


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Rooms]:
    """Room 1 was made (event 1), renamed (2), given another price (3) and deleted (5); room 2 was made (4)."""
    async with bench(database_url) as owner:
        await owner.execute(TABLES)
    async with bench(database_url, tell_room, tell_price) as opened:
        for statement in (
            "insert into rooms values (1, 'blue', 10)",
            "update rooms set name = 'red'",
            "update rooms set price = 20",
            "insert into rooms values (2, 'green', 5)",
            "delete from rooms where id = 1",
        ):
            await opened.execute(statement)
        yield Rooms(database_url, opened)


async def told(rooms: Rooms, *arguments: str) -> set[tuple[str, str, int]]:
    """Whom a dry run asked about which key, and by which event."""
    result = await hearken(rooms.url, "replay", *arguments, "--dry-run", "--json", HEARKEN_HANDLERS=MODULE)
    assert result.code == 0, result
    return {(one["handler"], one["key"], one["event_id"]) for one in result.json_lines}


async def test_the_newest_event_that_each_handler_hears(rooms: Rooms) -> None:
    """A delete that one handler does not ask for (ops=) hides the older event that it does ask for from nobody."""
    everything = {("tell_room", "1", 5), ("tell_room", "2", 4), ("tell_price", "1", 3), ("tell_price", "2", 4)}
    assert await told(rooms, "--topic", "public.rooms") == everything


async def test_who_does_not_ask_for_an_event_is_not_asked(rooms: Rooms) -> None:
    """The name alone (watch=) is nothing to the handler of prices."""
    assert await told(rooms, "2") == {("tell_room", "1", 2)}
    named = await hearken(rooms.url, "replay", "2", "--handler", "tell_price", "--dry-run", HEARKEN_HANDLERS=MODULE)
    assert (named.code, "asks for none of these events" in named.err) == (2, True), named
