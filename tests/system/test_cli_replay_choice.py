"""Promise: `hearken replay` finds the events that its options describe, no others, and refuses what cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.cli import Result, Rooms, hearken


async def replayed(rooms: Rooms, *arguments: str) -> list[int]:
    """What a replay with these options is of."""
    result = await hearken(rooms.url, "replay", *arguments, "--yes", "--json")
    assert result.code == 0, result
    assert result.json["appended"] == len(result.json["events"])
    return [event["replay_of"] for event in result.json["events"]]


@pytest.fixture
async def story(rooms: Rooms) -> Rooms:
    """Events 1 and 2: two rooms; 3: a name; 4: a price; 5: a room is gone. Two of them long ago."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'red', 20)")
    await rooms.execute("update rooms set name = 'green' where id = 1")
    await rooms.execute("update rooms set price = 11 where id = 1")
    await rooms.execute("delete from rooms where id = 2")
    await rooms.execute("update hearken.events set at = at - interval '3 days' where id <= 2")
    await rooms.bench.drain()
    return rooms


async def test_each_option_narrows_the_choice(story: Rooms) -> None:
    """By ids, topic, key, operation and time; all of them must hold."""
    assert await replayed(story, "--topic", "public.rooms", "--until", "1d") == [1, 2]
    assert await replayed(story, "--op", "delete", "--since", "1h") == [5]
    assert await replayed(story, "--topic", "public.rooms", "--key", "1", "--op", "insert") == [1]
    assert await replayed(story, "3", "4", "--op", "update", "--until", "0s") == [3, 4]


async def test_a_handler_alone_chooses_what_it_hears(story: Rooms) -> None:
    """Not a change of another column, not an operation that it does not ask for; and it alone is given them."""
    assert await replayed(story, "--handler", "price_room") == [1, 2, 4]
    await story.bench.drain()
    assert [of for _, of in await story.delivered("price_room") if of] == [1, 2, 4]
    assert [of for _, of in await story.delivered("note_room") if of] == []


async def test_a_replay_does_not_repeat_itself(story: Rooms) -> None:
    """What it appends is no part of what it chose, though it fits the description."""
    assert await replayed(story, "--topic", "public.rooms", "--since", "9d", "--rate", "1000") == [1, 2, 3, 4, 5]


async def test_the_dead_come_back_for_the_handler_that_they_are_dead_for(rooms: Rooms) -> None:
    """The dead entry goes in the same transaction; what was held behind it is delivered, then the replay."""
    await rooms.execute("insert into rooms values (1, 'bad', 10), (2, 'red', 20)")
    await rooms.bench.drain()
    await rooms.execute("update rooms set price = 11, name = 'good' where id = 1")
    await rooms.bench.drain()
    assert [(p["event_id"], p["state"]) for p in await rooms.bench.parked()] == [(1, "dead"), (3, "held")]
    result = await hearken(rooms.url, "replay", "--dead", "--reason", "mended", "--yes", "--json")
    assert (result.code, result.json["handlers"]) == (0, {"note_room": 0, "price_room": 1}), result
    assert [(p["event_id"], p["state"]) for p in await rooms.bench.parked()] == [(3, "due")]
    await rooms.bench.drain()
    (event,) = result.json["events"]
    assert [(p["event_id"], p["state"]) for p in await rooms.bench.parked()] == [(event["id"], "dead")]
    assert (3, None) in await rooms.delivered("price_room")
    assert [of for _, of in await rooms.delivered("note_room")] == [None, None, None]


async def test_of_two_who_replay_the_dead_one_does(rooms: Rooms) -> None:
    """Each dead event is appended once, by whoever took it out."""
    await rooms.execute("insert into rooms select i, 'bad', 10 from generate_series(1, 60) i")
    await rooms.bench.drain()
    results = await asyncio.gather(
        *(hearken(rooms.url, "replay", "--dead", "--afresh", "--yes", "--json") for _ in range(2))
    )
    # Who comes when all is done finds nothing, which is an answer too.
    assert {result.code for result in results} <= {0, 1}, results
    events = [event["replay_of"] for result in results for event in result.json["events"]]
    assert sorted(events) == list(range(1, 61))
    assert await rooms.bench.parked() == []


WRONG: list[tuple[list[str], str]] = [
    ([], "say which events"),
    (["--topic", "public.nothing"], "no such topic: public.nothing"),
    (["--topic", "public.rooms", "--handler", "no_one"], "no such handler: no_one"),
    (["--topic", "public.others", "--handler", "price_room"], "price_room does not subscribe to public.others"),
    (["--topic", "public.rooms", "--key", "one"], "malformed key 'one'"),
    (["--since", "1h", "--until", "2h"], "is not before --until"),
    (["--since", "yesterday"], "'yesterday' is not a time"),
    (["1", "--topic", "public.others"], "no such event of public.others: 1"),
    (["--run", "77"], "no such replay: 77"),
    (["--run", "77", "--topic", "public.rooms"], "leave out the other options"),
    (["5", "--handler", "price_room"], "price_room asks for none of these events"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said for _, said in WRONG])
async def test_what_cannot_be_is_refused_in_one_line(story: Rooms, arguments: list[str], said: str) -> None:
    """Exit code 2, and nothing is appended."""
    await story.execute("insert into hearken.events (topic, op, key) values ('public.others', 'insert', '1')")
    await story.execute("update rooms set name = 'x'")
    before = await story.value("select count(*) from hearken.events")
    result = await hearken(story.url, "replay", *arguments, "--yes")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result
    assert said in result.err
    assert await story.value("select count(*) from hearken.events") == before


@pytest.mark.parametrize(
    "arguments", [["--dead"], ["--since", "0s"], ["--op", "truncate"], ["--topic", "public.rooms"]]
)
async def test_nothing_found_is_a_negative_answer(rooms: Rooms, arguments: list[str]) -> None:
    """Exit code 1, and a line that says so."""
    result: Result = await hearken(rooms.url, "replay", *arguments, "--yes")
    assert (result.code, result.out) == (1, "")
    assert result.err == "no event matches: nothing was replayed\n"


KEYS: list[tuple[str, Any]] = [('["1", "a"]', 0), ('[1,"a"]', 0), ('["1"]', 2), ("1", 2), ('["x", "a"]', 2)]


@pytest.mark.parametrize(("key", "code"), KEYS)
async def test_a_key_of_several_columns_is_an_array(rooms: Rooms, key: str, code: int) -> None:
    """However it is spaced; with a value of the wrong type or number it is malformed."""
    await rooms.execute("create table seats (room int, name text, primary key (room, name))")
    await rooms.execute("update hearken.cursors set topics = topics || '{public.seats}' where handler = 'note_room'")
    await rooms.execute(
        "insert into hearken.events (topic, op, key) select 'public.seats', 'insert', json_build_array('1', 'a')::text"
    )
    result = await hearken(rooms.url, "replay", "--topic", "public.seats", "--key", key, "--yes", "--json")
    assert result.code == (code or 1), result  # the handler itself does not declare the table
    assert ("malformed key" in result.err) is (code == 2)
