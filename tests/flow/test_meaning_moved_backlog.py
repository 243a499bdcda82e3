"""Promise 14: a backlog of any size moves with its handler: in batches, in order, and going on if it was broken off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.flow.test_meaning_moved import RENAME, TABLES, Stage
from tests.support.watched import connect, watching
from worker.install import move_topic
from worker.install.migrate import find_pending

KEYS = 7
HISTORY = "insert into rooms select id, 0 from generate_series(1, 7) id on conflict (id) do update set v = rooms.v + 1"
Step = Callable[..., Awaitable[bool]]


class Broken(Exception):
    """The process that migrated is gone."""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_topic, "BATCH", 3)


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with watching(database_url, TABLES, "public.rooms", name="first") as rooms:
        yield Stage(database_url, rooms)


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[int], Awaitable[None]]]]:
    """Put in here what is to happen before each step of a move; it is given the step's number."""
    happenings: list[Callable[[int], Awaitable[None]]] = []
    step: Step = move_topic.go_on
    number = 0

    async def stepping(*given: Any) -> bool:
        nonlocal number
        number += 1
        for happening in happenings:
            await happening(number)
        return await step(*given)

    monkeypatch.setattr(move_topic, "go_on", stepping)
    yield happenings
    assert number > KEYS, "it was one step"


def in_order(given: list[tuple[str, str, str | None, Any]], values: int) -> bool:
    """Whether each key had every value once, one after the other."""
    keys = {key for _, _, key, _ in given}
    return len(keys) == KEYS and all([v for _, _, k, v in given if k == key] == list(range(values)) for key in keys)


async def test_writers_go_on_while_a_backlog_is_taken_along(
    stage: Stage, each_step: list[Callable[[int], Awaitable[None]]]
) -> None:
    """Only the last step holds them up. What they write comes after what is older of its key."""
    written = 5
    for _ in range(written):
        await stage.rooms.execute(HISTORY)
    await stage.rooms.execute(RENAME)
    async with connect(stage.url) as writer:

        async def write(number: int) -> None:
            nonlocal written
            if number <= 8:
                await writer.execute("set lock_timeout = '2s'")
                await writer.execute("update chambers set v = v + 1")
                written += 1

        each_step.append(write)
        await stage.rooms.migrate(stage.declare("public.chambers"))
    await stage.rooms.execute("update chambers set v = v + 1")
    assert in_order(await stage.deliver(stage.declare("public.chambers")), written + 1)
    assert await stage.rooms.rows("select handler from hearken.moves") == []


async def test_a_move_that_is_broken_off_goes_on_where_it_was(
    stage: Stage, each_step: list[Callable[[int], Awaitable[None]]]
) -> None:
    """Again and again: nothing comes twice, and nothing is given to anybody before the end."""

    async def die(number: int) -> None:
        if number % 3 == 0:
            raise Broken

    each_step.append(die)
    for _ in range(5):
        await stage.rooms.execute(HISTORY)
    await stage.rooms.execute(RENAME)
    after = stage.declare("public.chambers")
    while await find_pending(stage.rooms.connection, after):
        try:
            await stage.rooms.migrate(after)
        except Broken:
            assert (await find_pending(stage.rooms.connection, after)).enrolments
    assert in_order(await stage.deliver(after), 5)


async def test_a_transaction_that_stays_open_meanwhile_loses_nothing(
    stage: Stage, each_step: list[Callable[[int], Awaitable[None]]]
) -> None:
    """Its events have lower ids than those that are taken along before it ends."""
    await stage.rooms.execute(HISTORY)
    async with connect(stage.url) as open_one:
        await open_one.execute("begin")
        await open_one.execute("update rooms set v = v + 1 where id = 1")
        await stage.rooms.execute(*["update rooms set v = v + 1 where id > 1"] * 4)

        async def end(number: int) -> None:
            if number == 5:
                await open_one.execute("update rooms set v = v + 1 where id = 1")
                await open_one.execute("commit")

        each_step.append(end)
        await stage.rooms.migrate(stage.declare("public.halls"))
    given = await stage.deliver(stage.declare("public.halls"))
    assert [v for _, _, key, v in given if key == "1"] == [0, 1, 2]
    assert all([v for _, _, k, v in given if k == str(key)] == [0, 1, 2, 3, 4] for key in range(2, KEYS + 1))


async def test_a_move_that_is_given_up_leaves_the_handler_where_it_was(
    stage: Stage, each_step: list[Callable[[int], Awaitable[None]]]
) -> None:
    """The former code comes back, delivers all of it under the former name, and then moves after all."""
    broken = [4]

    async def die(number: int) -> None:
        if number in broken:
            raise Broken

    each_step.append(die)
    before, after = stage.declare("public.rooms"), stage.declare("public.halls")
    for _ in range(5):
        await stage.rooms.execute(HISTORY)
    with pytest.raises(Broken):
        await stage.rooms.migrate(after)
    given = await stage.deliver(before)
    assert ({topic for topic, *_ in given}, in_order(given, 5)) == ({"public.rooms"}, True)
    for _ in range(5):
        await stage.rooms.execute("update rooms set v = v + 1")
    given = await stage.deliver(after)
    assert {topic for topic, *_ in given} == {"public.halls"}
    assert sorted(v for *_, v in given) == sorted([5, 6, 7, 8, 9] * KEYS)


async def test_many_parked_events_move_in_batches_too(
    stage: Stage, each_step: list[Callable[[int], Awaitable[None]]]
) -> None:
    """Each with its attempts, in order."""
    stage.refused = {str(key) for key in range(1, KEYS + 1)}
    for _ in range(4):
        await stage.rooms.execute(HISTORY)
        await stage.deliver(stage.declare("public.rooms"))
    stage.refused = set()
    await stage.rooms.migrate(stage.declare("public.halls"))
    parked = await stage.rooms.rows("select distinct topic from hearken.parked")
    assert [row["topic"] for row in parked] == ["public.halls"]
    await stage.due()
    assert in_order(await stage.deliver(stage.declare("public.halls")), 4)


@pytest.mark.usefixtures("each_step")
async def test_the_last_step_is_a_batch_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was written just before the writers are held up: they wait for no more than that."""
    for _ in range(3):
        await stage.rooms.execute(HISTORY)
    hold = move_topic.hold_writers
    written = 3
    async with connect(stage.url) as writer:

        async def write(*given: Any) -> str:
            nonlocal written
            if written < 8:
                await writer.execute(f"{HISTORY}; {HISTORY}".encode())
                written += 2
            return await hold(*given)

        monkeypatch.setattr(move_topic, "hold_writers", write)
        await stage.rooms.migrate(stage.declare("public.halls"))
    steps = await stage.rooms.rows("select count(*) as n from hearken.events where replay_of is not null group by tx")
    assert max(step["n"] for step in steps) <= 2 * move_topic.BATCH
    assert in_order(await stage.deliver(stage.declare("public.halls")), written)


@pytest.mark.usefixtures("each_step")
async def test_what_could_not_be_written_of_a_row_is_still_marked_so(stage: Stage) -> None:
    """Else it would look like a column that the row has not: in what is parked and in what is not."""
    stage.refused = {str(key) for key in range(1, KEYS + 1)}
    await stage.rooms.execute(HISTORY, "update hearken.events set left_out = '{v}'")
    await stage.deliver(stage.declare("public.rooms"))
    for _ in range(4):
        await stage.rooms.execute(HISTORY, "update hearken.events set left_out = '{v}'")
    await stage.rooms.migrate(stage.declare("public.halls"))
    marks = await stage.rooms.rows("select distinct left_out from hearken.events where replay_of is not null")
    assert [row["left_out"] for row in marks] == [["v"]]
