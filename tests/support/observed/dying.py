"""Points at which a worker process kills itself: KILL_AT names one, KILL_COUNT says at which passing (default 1).

Imported by the handlers, so that the engine's own functions are wrapped before it runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from worker.deliver import parked
from worker.deliver.landing import Landing
from worker.log import cursors, reader
from worker.postgres.database import Connection, Database
from worker.sources import timetable

POINTS = (
    "after the claim",
    "after reading a batch",
    "before the effect",
    "after the effect",
    "before the cursor moves",
    "after the move, before the commit",
    "after the commit",
)
FLIGHT_POINTS = (
    "after parking as running",
    "before a late end is settled",
    "after a late end is settled, before the commit",
)
TICK_POINTS = (
    "before the ticks",
    "after the ticks, before the schedule moves",
    "after the ticks are committed",
)

_chosen = os.environ.get("KILL_AT")
_left = int(os.environ.get("KILL_COUNT", "1"))


def pass_by(point: str) -> None:
    """Die here, if this is the point, and the passing, that was chosen."""
    global _left  # noqa: PLW0603  # one process, one death
    if point != _chosen:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


_moves = 0


async def _claim(*arguments: Any) -> cursors.Claim | None:
    claimed = await _cursors_claim(*arguments)
    if claimed is not None:
        pass_by("after the claim")
    return claimed


async def _read(*arguments: Any) -> reader.Batch | None:
    batch = await _log_read_batch(*arguments)
    if batch is not None:
        pass_by("after reading a batch")
    return batch


async def _move(*arguments: Any) -> None:
    global _moves  # noqa: PLW0603
    pass_by("before the cursor moves")
    await _cursors_move(*arguments)
    _moves += 1
    pass_by("after the move, before the commit")


@asynccontextmanager
async def _batch(database: Database) -> AsyncIterator[Connection]:
    moves = _moves
    async with _database_batch(database) as connection:
        yield connection
    if _moves > moves:
        pass_by("after the commit")


async def _park(*arguments: Any) -> None:
    await _parked_park(*arguments)
    if any(parking.state == "running" for parking in arguments[2]):
        pass_by("after parking as running")


async def _settle(*arguments: Any) -> Any:
    pass_by("before a late end is settled")
    report = await _landing_settle(*arguments)
    pass_by("after a late end is settled, before the commit")
    return report


async def _append_ticks(*arguments: Any) -> None:
    pass_by("before the ticks")
    await _timetable_append_ticks(*arguments)
    pass_by("after the ticks, before the schedule moves")


async def _append_owed(*arguments: Any) -> bool | None:
    appended = await _timetable_append_owed(*arguments)
    if appended:
        pass_by("after the ticks are committed")
    return appended


_timetable_append_ticks, _timetable_append_owed = timetable.append_ticks, timetable.append_owed
_parked_park, _landing_settle = parked.park, Landing._settle
_cursors_claim, _cursors_move = cursors.claim, cursors.move
_log_read_batch, _database_batch = reader.read_batch, Database.batch

if _chosen is not None:
    if _chosen not in POINTS + FLIGHT_POINTS + TICK_POINTS:
        raise ValueError(f"KILL_AT={_chosen}: known are {POINTS + FLIGHT_POINTS + TICK_POINTS}")
    parked.park, Landing._settle = _park, _settle  # type: ignore[assignment,method-assign]
    timetable.append_ticks, timetable.append_owed = _append_ticks, _append_owed  # type: ignore[assignment]
    cursors.claim, cursors.move, reader.read_batch = _claim, _move, _read  # type: ignore[assignment]
    Database.batch = _batch  # type: ignore[assignment,method-assign]
