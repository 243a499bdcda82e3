"""Promise: a move to another topic may be taken back at any point: nothing is lost, doubled or reordered by that."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.test_meaning_moved import RENAME, TABLES, Stage
from tests.flow.test_meaning_moved_backlog import HISTORY, KEYS, Broken, Step, in_order
from tests.support.watched import connect, watching
from worker.declare.registry import Registry
from worker.deliver.progress import Turn
from worker.install import move_topic
from worker.operate.audit import Actor
from worker.operate.handlers import forget
from worker.operate.rebase import rebase
from worker.testing import bench

RENAME_BACK = "alter table chambers rename to rooms"


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_topic, "BATCH", 3)


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with watching(database_url, TABLES, "public.rooms", name="first") as rooms:
        yield Stage(database_url, rooms)


async def break_off(stage: Stage, declared: Registry, monkeypatch: pytest.MonkeyPatch, after: int = 4) -> None:
    """Migrate, and die after so many steps."""
    step: Step = move_topic.go_on
    left = after

    async def stepping(*given: object) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise Broken
        return await step(*given)

    with monkeypatch.context() as patch, pytest.raises(Broken):
        patch.setattr(move_topic, "go_on", stepping)
        await stage.rooms.migrate(declared)


async def test_a_table_that_is_renamed_back_at_once_has_its_events_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the log under both names by then; some were written while the first ones were taken along."""
    written = 5
    for _ in range(written):
        await stage.rooms.execute(HISTORY)
    await stage.rooms.execute(RENAME)
    step: Step = move_topic.go_on
    async with connect(stage.url) as writer:

        async def writing(*given: object) -> bool:
            nonlocal written
            if written < 10:
                await writer.execute("update chambers set v = v + 1")
                written += 1
            return await step(*given)

        with monkeypatch.context() as patch:
            patch.setattr(move_topic, "go_on", writing)
            await stage.rooms.migrate(stage.declare("public.chambers"))
    await stage.rooms.execute(RENAME_BACK)
    assert in_order(await stage.deliver(stage.declare("public.rooms")), written)


async def test_what_a_move_that_was_given_up_has_taken_along_is_not_taken_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that renames a table is rolled back in the middle, and released again."""
    before, after = stage.declare("public.rooms"), stage.declare("public.chambers")
    for _ in range(5):
        await stage.rooms.execute(HISTORY)
    await stage.rooms.execute(RENAME)
    await break_off(stage, after, monkeypatch)
    await stage.rooms.execute(RENAME_BACK)
    await stage.rooms.migrate(before)
    await stage.rooms.execute(RENAME)
    assert in_order(await stage.deliver(after), 5)


async def test_what_was_parked_comes_back_when_a_move_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place: what is newer of its key waits behind it."""
    stage.refused = {str(key) for key in range(1, KEYS + 1)}
    before, after = stage.declare("public.rooms"), stage.declare("public.halls")
    await stage.rooms.execute(HISTORY)
    await stage.deliver(before)
    parked = "select topic, event_id, key, state from hearken.parked order by event_id"
    as_it_was = await stage.rooms.rows(parked)
    await stage.rooms.execute(HISTORY)
    await break_off(stage, after, monkeypatch, after=2)
    assert "public.halls" in {row["topic"] for row in await stage.rooms.rows(parked)}
    await stage.rooms.migrate(before)
    assert await stage.rooms.rows(parked) == as_it_was
    stage.refused = set()
    assert await stage.deliver(before) == []
    await stage.due()
    assert in_order(await stage.deliver(before), 2)


async def test_a_worker_of_the_newer_code_that_runs_already_waits_for_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came with an earlier release that was rolled back, and would pass over what is yet to be taken along."""
    before, after = stage.declare("public.rooms"), stage.declare("public.halls")
    async with bench(stage.url, *(h.function for h in after.handlers.values()), declared=after) as newer:
        await stage.rooms.migrate(before)
        for _ in range(5):
            await stage.rooms.execute(HISTORY)
        await break_off(stage, after, monkeypatch)
        assert await newer.consumers[0].turn() is Turn.ASIDE
        await stage.rooms.migrate(after)
        await newer.drain()
    assert in_order(stage.given, 5)


async def test_a_handler_that_is_renamed_in_the_middle_of_a_move_begins_it_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken along is for its former name, which nobody has any more."""
    for _ in range(5):
        await stage.rooms.execute(HISTORY)
    await break_off(stage, stage.declare("public.halls"), monkeypatch)
    after = stage.declare("public.halls", "second", formerly="first")
    assert in_order(await stage.deliver(after), 5)
    assert await stage.rooms.rows("select handler from hearken.moves") == []


async def test_a_handler_that_is_forgotten_in_the_middle_of_a_move_is_not_on_its_way(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gets its name later begins at its beginning."""
    await stage.rooms.execute(HISTORY)
    await break_off(stage, stage.declare("public.halls"), monkeypatch, after=1)
    await forget(stage.rooms.connection, "first", Actor("anna", "gone"))
    assert await stage.rooms.rows("select handler from hearken.moves") == []


async def test_a_dump_that_was_made_in_the_middle_of_a_move_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far the move had come is told in the other database's transactions: it begins anew."""
    after = stage.declare("public.halls")
    for _ in range(5):
        await stage.rooms.execute(HISTORY)
    await break_off(stage, after, monkeypatch)
    await stage.rooms.execute(
        "update hearken.cursors set cluster = 'elsewhere', done = '9000000:9000000:'",
        "update hearken.moves set target = '9000000:9000000:', seen = '9000000:9000000:'",
    )
    await rebase(stage.rooms.connection, Actor("anna", "restored"))
    for _ in range(2):
        await stage.rooms.execute("update rooms set v = v + 1")
    given = await stage.deliver(after)
    assert [v for *_, key, v in given if key == "1"][-2:] == [5, 6]
