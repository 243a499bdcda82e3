"""Promise: what is tried out before a delivery takes as much room as what may have to be written after it."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.watched import watching
from worker import Change
from worker.deliver.parked import Parking, park
from worker.deliver.proof import REASON
from worker.postgres.storable import LONGEST_REASON


async def test_the_reason_that_is_tried_out_takes_its_full_room(database_url: str) -> None:
    """Postgres compresses what can be compressed: that would fit where a real reason does not."""
    change = Change(id=1, at=datetime.now(UTC), topic="public.rooms", op="insert", key="1")
    async with watching(database_url, "create table rooms (id int primary key)", "public.rooms") as rooms:
        await park(rooms.connection, "hear", [Parking(change, "due", 0, reason=REASON)])
        stored = await rooms.rows("select pg_column_size(reason) as bytes from hearken.parked")
    assert stored[0]["bytes"] >= LONGEST_REASON
