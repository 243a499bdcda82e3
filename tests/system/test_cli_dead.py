"""Promise: dead events are listed, looked at, retried and skipped by a person, and it is kept who did it and why."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cli import Rooms, hearken

# Three rooms with a name that price_room parks; the first is changed twice more, and held.
BAD = "insert into rooms values (1, 'bad', 10), (2, 'bad', 20), (3, 'bad', 30), (4, 'blue', 40)"


@pytest.fixture
async def dead(rooms: Rooms) -> Rooms:
    """Events 1, 2 and 3 are dead for price_room; 5 and 6 are held behind 1."""
    await rooms.execute(BAD)
    await rooms.execute("update rooms set price = 11 where id = 1")
    await rooms.execute("update rooms set price = 12 where id = 1")
    await rooms.bench.drain()
    return rooms


async def state(rooms: Rooms, event: int) -> str | None:
    rows = await rooms.execute("select state from hearken.parked where event_id = %s", event)
    return rows[0]["state"] if rows else None


async def test_they_are_listed_by_handler_and_reason(dead: Rooms) -> None:
    """Reasons that differ in numbers are one group, which says how many there are; others stay apart."""
    await dead.execute("update hearken.parked set reason = 'room 12 has no price' where event_id = 2")
    await dead.execute("update hearken.parked set reason = 'room 7 has no price' where event_id = 3")
    listed = await hearken(dead.url, "dead", "list", "--json")
    assert [(g["handler"], g["events"], g["different"], g["reason"], g["example"]) for g in listed.json] == [
        ("price_room", 2, 2, "room # has no price", 2),
        ("price_room", 1, 1, "a room must not be called that", 1),
    ]
    assert set(listed.json[0]) >= {"oldest", "newest"}
    text = await hearken(dead.url, "dead", "list", "--handler", "price_room")
    assert "room # has no price (2 different)" in text.out
    none = await hearken(dead.url, "dead", "list", "--handler", "note_room")
    assert (none.code, none.out, none.err) == (0, "", "no dead events\n")


async def test_one_is_shown_with_its_row_and_what_waits(dead: Rooms) -> None:
    """The event, the failure, the row as it is now and not as it was, the events held behind it."""
    shown = await hearken(dead.url, "dead", "show", "1")
    assert shown.code == 0, shown
    for part in (
        "insert at",
        '"price":10',
        "attempts: 1",
        "must not be called that",
        "price = 12",
        "waiting behind it: 2 of its key",
    ):
        assert part in shown.out
    document = (await hearken(dead.url, "dead", "show", "1", "--json")).json
    assert [event["event_id"] for event in document["behind"]] == [5, 6]
    assert (document["row"]["price"], document["facts"]["op"]) == (12, "insert")
    await dead.execute("delete from rooms where id = 2")
    assert "row now: gone" in (await hearken(dead.url, "dead", "show", "2")).out


async def test_a_retried_one_has_all_its_attempts_and_those_behind_follow(dead: Rooms) -> None:
    """The row was mended: the dead one first, the held ones in order after it."""
    await dead.execute("update hearken.parked set attempt = 12 where event_id = 1")
    # The handler looks at the event's own row, so the event is mended here as a new handler would be.
    await dead.execute("""update hearken.events set new = '{"id": 1, "name": "good"}' where id in (1, 5, 6)""")
    done = await hearken(dead.url, "dead", "retry", "1", "--reason", "renamed", "--yes", "--json")
    assert (done.code, done.json) == (0, {"retried": 1, "chosen": 1, "handlers": {"price_room": 1}})
    (row,) = await dead.execute("select state, attempt, due_at <= now() as now from hearken.parked where event_id = 1")
    assert row == {"state": "due", "attempt": 0, "now": True}
    assert await state(dead, 5) == "held"
    await dead.bench.drain()
    assert await dead.delivered("price_room") == [(1, None), (4, None), (5, None), (6, None)]
    (action,) = await dead.execute("select * from hearken.actions")
    assert (action["action"], action["event_id"], action["key"], action["reason"]) == ("retry", 1, "1", "renamed")
    assert ("@" in action["by"], action["details"]["attempt"]) == (True, 12)


async def test_a_skipped_one_lets_the_next_of_its_key_come(dead: Rooms) -> None:
    """Dropped for good, kept in the actions; the reason is required."""
    assert (await hearken(dead.url, "dead", "skip", "1", "--yes")).code == 2
    done = await hearken(dead.url, "dead", "skip", "1", "--reason", "not ours", "--yes")
    assert (done.code, done.err) == (0, "1 dead event skipped\n")
    assert (await state(dead, 1), await state(dead, 5), await state(dead, 6)) == (None, "due", "held")
    (action,) = await dead.execute("select action, handler, topic, key, event_id, reason from hearken.actions")
    assert tuple(action.values()) == ("skip", "price_room", "public.rooms", "1", 1, "not ours")


async def test_several_are_chosen_by_reason_by_handler_or_all(dead: Rooms) -> None:
    """# stands for any number, and nothing else in the text is more than text."""
    await dead.execute("update hearken.parked set reason = 'no price (12.50) of room 7' where event_id = 2")
    await dead.execute("update hearken.parked set reason = 'no price (9x50) of room 8' where event_id = 3")
    exact = await hearken(dead.url, "dead", "retry", "--matching", "price (12.50)", "--yes", "--json")
    assert exact.json["retried"] == 1
    assert (await state(dead, 2), await state(dead, 3)) == ("due", "dead")
    pattern = await hearken(dead.url, "dead", "skip", "--matching", "of room #", "--reason", "x", "--yes", "--json")
    assert pattern.json["skipped"] == 1
    by_handler = await hearken(dead.url, "dead", "retry", "--handler", "price_room", "--yes", "--json")
    assert by_handler.json["retried"] == 1
    nothing = await hearken(dead.url, "dead", "retry", "--all", "--yes")
    assert (nothing.code, nothing.err) == (1, "no dead event matches: nothing was retried\n")


async def test_a_rate_spreads_them(dead: Rooms) -> None:
    """So that a destination that has just come back is not overrun: one each two seconds here."""
    assert (await hearken(dead.url, "dead", "retry", "--all", "--rate", "0.5", "--yes")).code == 0
    rows = await dead.execute(
        "select extract(epoch from due_at - min(due_at) over ())::int as after from hearken.parked"
        " where state = 'due' order by event_id"
    )
    assert [row["after"] for row in rows] == [0, 2, 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "99"), "event 99 is not dead"),
        (("retry", "4", "--yes"), "event 4 is not dead"),
        (("retry", "--yes"), "say which"),
        (("retry", "1", "--all", "--yes"), "--all"),
        (("retry", "1", "--matching", "x", "--yes"), "not both"),
        (("retry", "--matching", " ", "--yes"), "--matching is empty"),
        (("retry", "--handler", "nobody", "--yes"), "no such handler: nobody; known: note_room, price_room"),
        (("list", "--handler", "nobody"), "no such handler: nobody"),
        (("retry", "1"), "Retry 1 dead event (1 of price_room)? There is no terminal"),
        (("skip", "--all", "--reason", "x"), "Skip 3 dead events (3 of price_room)? There is no terminal"),
    ],
)
async def test_what_is_wrong_is_one_line(dead: Rooms, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, and nothing is touched."""
    result = await hearken(dead.url, "dead", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result
    assert said in result.err
    assert await dead.value("select count(*) from hearken.parked where state = 'dead'") == 3
    assert await dead.value("select count(*) from hearken.actions") == 0


@pytest.mark.parametrize("arguments", [("show", "x"), ("retry", "0"), ("retry", "1", "--rate", "0"), ("edit", "1")])
async def test_malformed_arguments_are_refused(dead: Rooms, arguments: tuple[str, ...]) -> None:
    """By click, with its usage."""
    assert (await hearken(dead.url, "dead", *arguments)).code == 2


async def test_an_event_dead_for_two_handlers_needs_a_name(dead: Rooms) -> None:
    """Nobody shall retry more than was meant."""
    await dead.execute(
        "insert into hearken.parked (handler, event_id, topic, key, state, attempt)"
        " select 'note_room', event_id, topic, key, state, 1 from hearken.parked where event_id = 2"
    )
    both = await hearken(dead.url, "dead", "retry", "2", "--yes")
    assert (both.code, "dead for note_room, price_room: choose with --handler" in both.err) == (2, True)
    assert (await hearken(dead.url, "dead", "retry", "2", "--handler", "note_room", "--yes")).code == 0
    assert await dead.value("select handler from hearken.parked where event_id = 2 and state = 'dead'") == "price_room"


async def test_of_two_operators_at_once_one_wins(dead: Rooms) -> None:
    """The other is told, by exit code 1; it is kept once."""
    first, second = await asyncio.gather(
        hearken(dead.url, "dead", "retry", "1", "--yes"),
        hearken(dead.url, "dead", "skip", "1", "--reason", "x", "--yes"),
    )
    assert sorted([first.code, second.code]) == [0, 1]
    loser = first if first.code else second
    assert "no longer dead" in loser.err
    assert await dead.value("select count(*) from hearken.actions") == 1
    third = await hearken(dead.url, "dead", "retry", "1", "--yes")
    assert (third.code, third.err.count("\n")) == (1, 1)
    assert "is no longer dead: " in third.err
