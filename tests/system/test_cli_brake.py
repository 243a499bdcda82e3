"""Promise: an operator sees the brake, and only with --confirm does the handler go on."""

from __future__ import annotations

import asyncio

from tests.support.cli import Rooms, hearken
from tests.support.things import connect, observed, watch_things
from tests.support.witness import Witness
from tests.support.workers import start_worker

MODULES = observed("external")
FILL = "insert into things select i, 1 from generate_series(1, 30) i"


async def test_a_running_worker_is_stopped_and_goes_on(database_url: str) -> None:
    """By commands from elsewhere: status, a refused resume with what the brake saw, the confirmation."""
    await watch_things(database_url, MODULES)
    handlers = {"HEARKEN_HANDLERS": MODULES[0]}
    async with Witness() as witness, start_worker(database_url, MODULES, witness) as running:
        async with await connect(database_url) as application:
            await application.execute(FILL)
            await witness.until_done(30)
            await application.execute("delete from things")
        said = await running.said("handler braked before delivering anything")
        assert (said["deleted"], said["of_rows"], len(witness.deliveries)) == (30, 30, 30)
        status = await hearken(database_url, "status", **handlers)
        assert "braked: 30 deleted in one window, of a table of 30 rows" in status.out
        statuses = (await hearken(database_url, "status", "--json", **handlers)).json
        assert {one["handler"]: one["braked"] for one in statuses}["see"]["deleted"] == 30
        refused = await hearken(database_url, "resume", "see", **handlers)
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert "30 deleted" in refused.err
        assert "hearken resume see --confirm" in refused.err
        both = await asyncio.gather(
            hearken(database_url, "resume", "see", "--confirm", "--reason", "meant so", **handlers),
            hearken(database_url, "resume", "see", "--confirm", **handlers),
        )
        assert sorted(result.code for result in both) == [0, 1]
        assert any("the brake of see is not on" in result.err for result in both)
        await witness.until_done(60)


async def test_there_is_nothing_to_confirm(rooms: Rooms) -> None:
    """A handler that a person has paused goes on with a mere resume, and what was done is kept."""
    assert (await hearken(rooms.url, "pause", "note_room", "--reason", "inventory")).code == 0
    confirmed = await hearken(rooms.url, "resume", "note_room", "--confirm")
    assert (confirmed.code, confirmed.err) == (1, "hearken: the brake of note_room is not on, nothing to confirm\n")
    assert await rooms.value("select count(*) from hearken.paused") == 1
    assert (await hearken(rooms.url, "resume", "note_room", "--reason", "counted")).code == 0
    actions = await rooms.execute("select action, handler, reason from hearken.actions order by id")
    assert [tuple(action.values()) for action in actions] == [
        ("pause", "note_room", "inventory"),
        ("resume", "note_room", "counted"),
    ]
