"""Promise: `hearken status` says of each handler how far it is, what it has put aside, and who runs it."""

from __future__ import annotations

from typing import Any

from tests.support.cli import SAMPLE, Rooms, hearken
from tests.support.workers import start_worker

GONE = """
insert into hearken.cursors (handler, shard, shards, topics, cluster, done)
select 'gone', shard, shards, topics, cluster, done from hearken.cursors where handler = 'note_room'
"""


async def statuses(rooms: Rooms) -> dict[str, dict[str, Any]]:
    result = await hearken(rooms.url, "status", "--json")
    assert result.code == 0, result
    return {status["handler"]: status for status in result.json}


async def test_a_handler_is_behind_by_what_it_has_yet_to_be_given(rooms: Rooms) -> None:
    """Counts only what the handler asked for; parked events and pauses are told apart."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'bad', 20)")
    await rooms.bench.drain()
    await rooms.execute("update rooms set name = name || '!'")
    await rooms.execute("update rooms set price = 30 where id = 1")
    await rooms.execute("insert into hearken.paused (handler, by, reason) values ('price_room', 'me', 'lunch')")
    await rooms.execute(GONE)
    found = await statuses(rooms)
    note, price, gone = (found[name] for name in ("note_room", "price_room", "gone"))
    assert (note["behind"], note["dead"], note["declared"]) == (3, 0, True)
    assert note["oldest"] > 0
    assert (price["behind"], price["dead"], price["paused"]) == (1, 1, "lunch")
    assert (gone["behind"], gone["declared"]) == (3, False)
    assert {status["state"] for status in found.values()} == {"nobody"}


async def test_a_table_for_people_says_the_same(rooms: Rooms) -> None:
    """One line for each handler, with what to do where something is wrong."""
    await rooms.execute(GONE)
    await rooms.execute("delete from hearken.cursors where handler = 'price_room'")
    await rooms.execute("update hearken.cursors set cluster = 'elsewhere' where handler = 'note_room'")
    result = await hearken(rooms.url, "status")
    headings, gone, note, price = result.out.splitlines()
    assert headings.split() == [
        "handler",
        "hears",
        "behind",
        "oldest",
        "running",
        "due",
        "held",
        "dead",
        "state",
        "who",
    ]
    assert "hearken forget" in gone
    assert "hearken rebase" in note
    assert "hearken migrate" in price


async def test_a_sleeping_worker_is_named(rooms: Rooms) -> None:
    """Handlers of a running worker are idle, and in its hands."""
    async with start_worker(rooms.url, [SAMPLE]) as running:
        await running.said("working")
        await running.said("listening", logger="listener")
        found = await statuses(rooms)
        while {status["state"] for status in found.values()} != {"idle"}:
            found = await statuses(rooms)  # meanwhile the worker falls asleep
        assert all(status["who"][0].endswith(f":{running.pid}") for status in found.values())
