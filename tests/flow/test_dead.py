"""Promise: what two operators or a worker do at once to a dead event is done once, and reasons are grouped honestly."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.support.brakes import ANNA, Rooms, open_rooms
from tests.support.waiting import until_blocked
from worker.operate import dead
from worker.operate.audit import Actor
from worker.operate.dead import Dead, DeadFilter

PUT = """
insert into hearken.parked (handler, event_id, topic, key, state, attempt, reason)
values ('hear', %s, 'public.rooms', '1', 'dead', 1, %s)
"""
BEN = Actor("ben@desk", "not ours")


async def put(rooms: Rooms, *reasons: str) -> None:
    """A dead event for each of the reasons, from 1."""
    for number, reason in enumerate(reasons, 1):
        await rooms.bench.execute(PUT, (number, reason))


async def test_who_comes_second_waits_and_finds_it_done(database_url: str) -> None:
    """While the first operator's transaction is open the second's waits; then it takes nothing, and keeps nothing."""
    async with open_rooms(database_url) as rooms, await psycopg.AsyncConnection.connect(rooms.url) as first:
        await put(rooms, "a")
        await first.execute("select 1")  # begins the transaction that stays open
        assert await dead.retry(first, [Dead("hear", 1)], ANNA) == [Dead("hear", 1)]
        async with await psycopg.AsyncConnection.connect(rooms.url, autocommit=True) as second:
            skipping = asyncio.create_task(dead.skip(second, [Dead("hear", 1)], BEN))
            await until_blocked(rooms.bench.connection)
            await first.commit()
            assert await skipping == []
        assert [row["by"] for row in await rooms.bench.execute("select by from hearken.actions")] == ["anna@desk"]
        assert [row["state"] for row in await rooms.bench.parked()] == ["due"]


async def test_one_that_a_newer_event_has_replaced_is_left(database_url: str) -> None:
    """A level-triggered handler drops the dead one when a newer change of its row comes: nothing is left to retry."""
    async with open_rooms(database_url, fold=True) as rooms:
        await rooms.fill(2)
        await put(rooms, "a")
        await rooms.run("update rooms set name = 'new'")
        assert await dead.retry(rooms.bench.connection, [Dead("hear", 1)], ANNA) == []
        assert await rooms.bench.execute("select * from hearken.actions") == []


async def test_the_run_of_a_tick_or_request_is_told(database_url: str) -> None:
    """Who waits for it sees that it is tried again, or that it was skipped and why."""
    run = (
        "insert into hearken.runs (event_id, topic, source, state, ended_at)"
        " values (%s, 'tick/x', 'tick', 'dead', now())"
    )
    told = "select state, ended_at is null as open, error from hearken.runs order by event_id"
    async with open_rooms(database_url) as rooms:
        await put(rooms, "a", "b")
        for event in (1, 2):
            await rooms.bench.execute(run, (event,))
        await dead.retry(rooms.bench.connection, [Dead("hear", 1)], ANNA)
        await dead.skip(rooms.bench.connection, [Dead("hear", 2)], BEN)
        assert [tuple(row.values()) for row in await rooms.bench.execute(told)] == [
            ("waiting", True, None),
            ("skipped", False, "not ours"),
        ]


@pytest.mark.parametrize(
    ("reasons", "groups"),
    [
        (("answered 404", "answered 404"), [("answered 404", 2, 1)]),
        (("answered 404", "answered 500"), [("answered #", 2, 2)]),
        (("row 1 of 2", "row 10 of 20", "row of 2"), [("row # of #", 2, 2), ("row of 2", 1, 1)]),
        (
            ("no 0f8fad5b-d9cb-469f-a165-70867728950e", "no 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            [("no #", 2, 2)],
        ),
        (("Retry (attempt 12 of 12)", "Skip (attempt 12 of 12)"), [("Retry (attempt 12 of 12)", 1, 1)] * 1),
    ],
)
async def test_reasons_are_grouped_by_their_words(
    database_url: str, reasons: tuple[str, ...], groups: list[tuple[str, int, int]]
) -> None:
    """Numbers and ids aside; a reason that is the only one stands as it is."""
    async with open_rooms(database_url) as rooms:
        await put(rooms, *reasons)
        found = await dead.group(rooms.bench.connection)
        assert [(g.reason, g.events, g.different) for g in found][: len(groups)] == groups
        assert sum(g.events for g in found) == len(reasons)


@pytest.mark.parametrize(
    ("matching", "found"),
    [("404", [1]), ("#", [1, 2]), ("ANSWERED", [1, 2]), (".*", []), ("a.s", []), ("100%", [3]), ("\\d", [])],
)
async def test_matching_is_text_where_it_is_not_a_number(database_url: str, matching: str, found: list[int]) -> None:
    """Nothing in it is a pattern but #."""
    async with open_rooms(database_url) as rooms:
        await put(rooms, "answered 404", "answered 500", "full: 100%")
        chosen = await dead.find_dead(rooms.bench.connection, DeadFilter(matching=matching))
        assert [one.event_id for one in chosen][: len(found) or None] == found
