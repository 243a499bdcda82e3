"""Promise: a window that takes too much away stops an external handler before it does anything about it."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.support.brakes import ANNA, open_rooms
from worker.deliver.brake import judge
from worker.errors import Braked, NotAllowed, Overtaken
from worker.log.cursors import Position
from worker.log.reader import Batch
from worker.operate.handlers import confirm_brake, pause, resume

DELETE = "delete from rooms where id <= {}"
ARCHIVE = "update rooms set active = false where id <= {}"


@pytest.mark.parametrize(
    ("rows", "statement", "seen"),
    [
        (150, DELETE.format(101), (101, 0, None)),
        (150, ARCHIVE.format(101), (0, 101, None)),
        (150, "update rooms set active = null where id <= 101", (0, 101, None)),
        (20, DELETE.format(11), (11, 0, 20)),
        (20, ARCHIVE.format(11), (0, 11, 20)),
        (30, "delete from rooms", (30, 0, 30)),
        (199, ARCHIVE.format(100), (0, 100, 199)),
    ],
)
async def test_too_much_in_one_window_stops_the_handler(
    database_url: str, rows: int, statement: str, seen: tuple[int, int, int | None]
) -> None:
    """More than 100, or more than half of a table of at least 20 rows: nothing of it is delivered."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(rows)
        await rooms.run(statement)
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["deleted"], braked["archived"], braked["of_rows"]) == seen
        assert rooms.given == []


@pytest.mark.parametrize(
    ("rows", "statements"),
    [
        (300, [DELETE.format(100)]),
        (300, [ARCHIVE.format(100)]),
        (200, [DELETE.format(50), "update rooms set active = false where id between 51 and 100"]),
        (20, [DELETE.format(10)]),
        (19, ["delete from rooms"]),
        (300, ["update rooms set name = 'x'"]),
        (20, ["delete from rooms where id = 1", "insert into rooms values (1, 'x', true)"] * 30),
    ],
)
async def test_what_is_not_too_much_passes(database_url: str, rows: int, statements: list[str]) -> None:
    """The limits themselves, a small table, other columns; and a row that went thirty times is one row."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(rows)
        await rooms.run(*statements)
        assert (await rooms.braked(), rooms.given != []) == (None, True)


async def test_only_a_turn_from_active_counts(database_url: str) -> None:
    """What was inactive before is not archived by becoming null."""
    async with open_rooms(database_url) as rooms:
        await rooms.bench.execute("insert into rooms select i, 'x', false from generate_series(1, 150) i")
        await rooms.run("update rooms set active = null")
        assert await rooms.braked() is None


@pytest.mark.parametrize(("fold", "stopped"), [(True, False), (False, True)])
async def test_rows_that_are_back_are_not_gone_for_a_level_triggered_handler(
    database_url: str, fold: bool, stopped: bool
) -> None:
    """A table that is emptied and loaded again in one transaction; other handlers are given the deletes too."""
    async with open_rooms(database_url, fold=fold) as rooms:
        await rooms.fill(150)
        await rooms.run("delete from rooms", "insert into rooms select i, 'x', true from generate_series(1, 150) i")
        assert (await rooms.braked() is not None) is stopped


async def test_rows_that_come_back_inactive_are_archived(database_url: str) -> None:
    """Deleted and inserted as inactive, in one window."""
    async with open_rooms(database_url, fold=True) as rooms:
        await rooms.fill(150)
        await rooms.run("delete from rooms", "insert into rooms select i, 'x', false from generate_series(1, 150) i")
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["deleted"], braked["archived"]) == (0, 150)


async def test_a_truncate_counts_as_everything(database_url: str) -> None:
    """However few rows there were: nobody knows afterwards."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(3)
        await rooms.run("truncate rooms")
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["truncated"], rooms.given) == (True, [])
        await rooms.confirm()
        assert rooms.given == ["truncate"]


async def test_a_large_update_is_stopped_before_its_first_batch(database_url: str) -> None:
    """A window that is read in many parts is judged as a whole; two thirds of it are harmless."""
    async with open_rooms(database_url, batch=20) as rooms:
        await rooms.fill(900)
        await rooms.run("update rooms set name = 'x' where id <= 600", "update rooms set active = false where id > 600")
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["archived"], rooms.given) == (300, [])
        await rooms.confirm()
        assert rooms.given == ["update"] * 900


@pytest.mark.parametrize(("filled", "deleted"), [(500, 120), (24, 13)])
async def test_a_shard_is_stopped_by_what_the_whole_window_holds(database_url: str, filled: int, deleted: int) -> None:
    """Too much for all, though each of the four shards has a quarter; one confirmation is for all of them."""
    async with open_rooms(database_url, shards=4) as rooms:
        await rooms.fill(filled)
        await rooms.run(DELETE.format(deleted))
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["deleted"], rooms.given) == (deleted, [])
        await rooms.confirm()
        assert await rooms.braked() is None
        assert rooms.given == ["delete"] * deleted


async def test_what_comes_after_a_confirmed_window_is_judged_anew(database_url: str) -> None:
    """Deletes that were committed while the brake was on are not let pass with those that it saw."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(1000)
        await rooms.run(DELETE.format(150))
        await rooms.run("delete from rooms where id between 151 and 350")
        await rooms.confirm()
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["deleted"], rooms.given) == (200, [])
        await rooms.confirm()
        assert rooms.given == ["delete"] * 350
        await rooms.run("delete from rooms where id between 351 and 360")
        assert (await rooms.braked(), len(rooms.given)) == (None, 360)


async def test_small_windows_are_not_caught(database_url: str) -> None:
    """A script that commits each delete while the handler keeps up: each window holds one (docs/operate.md says so)."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(40)
        for room in range(40):
            await rooms.run(f"delete from rooms where id = {room + 1}")
        assert (await rooms.braked(), len(rooms.given)) == (None, 40)


@pytest.mark.parametrize("options", [{"brake": False, "active": None}, {"ops": ("update",), "active": None}])
async def test_a_handler_can_do_without(database_url: str, options: dict[str, Any]) -> None:
    """With brake=False, or when it does not hear of deletes."""
    async with open_rooms(database_url, **options) as rooms:
        await rooms.fill(150)
        await rooms.run("update rooms set name = 'x'", "delete from rooms")
        assert await rooms.braked() is None
        assert rooms.given.count("update") == 150


async def test_the_limit_is_a_setting(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEARKEN_BRAKE_MAX, also when it is less than half of a small table."""
    monkeypatch.setenv("HEARKEN_BRAKE_MAX", "3")
    async with open_rooms(database_url) as rooms:
        await rooms.fill(150)
        await rooms.run(DELETE.format(3))
        assert len(rooms.given) == 3
        await rooms.run(DELETE.format(7))
        braked = await rooms.braked()
        assert braked is not None
        assert (braked["deleted"], len(rooms.given)) == (4, 3)


async def test_replays_do_not_count_and_missing_rows_do(database_url: str) -> None:
    """A person has chosen what to replay; a reconciliation's snapshot of a row that is gone is news."""
    append = "insert into hearken.events (topic, op, key, old, note, replay_of) select 'public.rooms', {} "
    keys = " from generate_series(1, 120) i"
    async with open_rooms(database_url) as rooms:
        await rooms.run(append.format("""'delete', i::text, '{}', '{"replay": {"by": "anna"}}', 1""") + keys)
        assert (await rooms.braked(), len(rooms.given)) == (None, 120)
        await rooms.run(append.format("""'delete', i::text, '{}', '{"replay": {"by": "anna"}}', null""") + keys)
        assert await rooms.braked() is not None
        await rooms.confirm()
        await rooms.run(append.format("'snapshot', i::text, null, null, null") + keys)
        assert await rooms.braked() is not None


async def test_only_a_confirmation_lets_it_go_on(database_url: str) -> None:
    """Not a mere resume, not after a pause by a person; and who confirms second is told who was first."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(30)
        await rooms.run("delete from rooms")
        await pause(rooms.bench.connection, "hear", ANNA)
        with pytest.raises(Braked, match=r"30 deleted in one window, of a table of 30 rows.*--confirm"):
            await resume(rooms.bench.connection, "hear", ANNA)
        await rooms.bench.drain()
        assert rooms.given == []
        await rooms.confirm()
        assert rooms.given == ["delete"] * 30
        with pytest.raises(Overtaken, match="confirm by anna@desk"):
            await confirm_brake(rooms.bench.connection, "hear", ANNA)
        actions = await rooms.bench.execute("select action, by, reason, details from hearken.actions order by id")
        assert [a["action"] for a in actions] == ["pause", "confirm"]
        assert (actions[1]["reason"], actions[1]["details"]["deleted"]) == ("meant so", 30)


async def test_a_table_that_is_dropped_has_no_rows(database_url: str) -> None:
    """Eleven deletes of it, and then it went: the handler is not stuck with a query of a table that is not there."""
    async with open_rooms(database_url) as rooms:
        await rooms.fill(30)
        await rooms.run(DELETE.format(11))
        rooms.given.clear()
        await rooms.bench.execute("delete from rooms where id <= 22")
        await rooms.bench.execute("drop table rooms")
        await rooms.bench.drain()
        assert (await rooms.braked(), len(rooms.given)) == (None, 11)


async def test_a_role_that_may_not_count_is_told_so(database_url: str) -> None:
    """With the GRANT that it lacks; nothing is guessed."""
    async with open_rooms(database_url) as rooms, await AsyncConnection.connect(rooms.url) as connection:
        await rooms.bench.execute("insert into rooms select i, 'x', true from generate_series(1, 30) i")
        await rooms.bench.execute(DELETE.format(11))
        window = Position("1:1:", await rooms.snapshot(), 0, 100)
        batch = Batch([], Position("1:1:"), window, opened=window)
        handler = rooms.bench.consumers[0].handler
        await connection.execute("create role may_not_count")
        await connection.execute("grant all on schema hearken to may_not_count")
        await connection.execute("grant all on all tables in schema hearken to may_not_count")
        await connection.execute("set local role may_not_count")
        with pytest.raises(NotAllowed, match=r"grant select on public\.rooms"):
            await judge(connection, handler, batch, 100)
        await connection.rollback()
