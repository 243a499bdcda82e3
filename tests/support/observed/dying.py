"""Points at which a worker process kills itself: KILL_AT names one, KILL_COUNT says at which passing (default 1).

Imported by the handlers, so that the engine's own functions are wrapped before it runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from worker import cursors, log
from worker.database import Connection, Database

POINTS = (
    "after the claim",
    "after reading a batch",
    "before the effect",
    "after the effect",
    "before the cursor moves",
    "after the move, before the commit",
    "after the commit",
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


def _watched(
    function: Callable[..., Awaitable[Any]], before: str | None = None, after: str | None = None
) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def watched(*arguments: Any, **options: Any) -> Any:
        if before is not None:
            pass_by(before)
        result = await function(*arguments, **options)
        if after is not None and result is not False:
            pass_by(after)
        return result

    return watched


_moves = 0


async def _count_move(*arguments: Any, **options: Any) -> None:
    global _moves  # noqa: PLW0603
    await _move(*arguments, **options)
    _moves += 1


@asynccontextmanager
async def _batch(database: Database) -> AsyncIterator[Connection]:
    moves = _moves
    async with _open_batch(database) as connection:
        yield connection
    if _moves > moves:
        pass_by("after the commit")


async def _read(*arguments: Any, **options: Any) -> Any:
    batch = await _read_batch(*arguments, **options)
    if batch is not None:
        pass_by("after reading a batch")
    return batch


_move, _read_batch, _open_batch = cursors.move, log.read_batch, Database.batch

if _chosen is not None:
    if _chosen not in POINTS:
        raise ValueError(f"KILL_AT={_chosen}: known are {POINTS}")
    cursors.claim = _watched(cursors.claim, after="after the claim")  # type: ignore[assignment]
    cursors.move = _watched(  # type: ignore[assignment]
        _count_move, before="before the cursor moves", after="after the move, before the commit"
    )
    log.read_batch = _read
    Database.batch = _batch  # type: ignore[assignment,method-assign]
