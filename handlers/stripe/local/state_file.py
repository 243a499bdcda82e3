"""Keeping the state in a file, so that a server stopped and started again is the same Stripe account.

A write comes shortly after a change, never for each one: a burst of changes is one write. It is atomic (a
new file put in place of the old), so a process killed at any moment leaves a complete file, at most that old.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SHORTEST, _LONGEST = 0.05, 1.0
"""Seconds between two writes; within these bounds four times what the last one took: saving stays cheap."""

_log = logging.getLogger(__name__)


def read_state(path: Path) -> dict[str, Any] | None:
    """Return what was saved, or None when there is no such file; raises ValueError when it cannot be read."""
    try:
        state = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not a state file of the local Stripe ({error}). Remove it.") from error
    if not isinstance(state, dict) or state.get("version") != 1:
        raise ValueError(f"{path} is not a state file of this version of the local Stripe. Remove it.")
    return state


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Put `state` in place of what `path` holds, readable by its owner only: it contains the key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Saver:
    """Writes `snapshot()` to `path` soon after it is made and after changes, and a last time in `close`."""

    def __init__(self, path: Path, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._snapshot = snapshot
        self._closing = asyncio.Event()
        self._dirty = asyncio.Event()
        self._dirty.set()  # a new key is there to be saved
        self._task = asyncio.create_task(self._run())

    def changed(self) -> None:
        """Tell that there is something to write."""
        self._dirty.set()

    async def _run(self) -> None:
        pause = _SHORTEST
        while not self._closing.is_set():
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
                return
            began = time.monotonic()
            try:
                await self._save()
            except OSError as error:
                _log.error("The local Stripe cannot save its state to %s: %s. It keeps trying.", self._path, error)
                self._dirty.set()
            pause = min(max(_SHORTEST, 4 * (time.monotonic() - began)), _LONGEST)

    async def _save(self) -> None:
        self._dirty.clear()
        await asyncio.to_thread(write_state, self._path, self._snapshot())

    async def close(self) -> None:
        """Write the last state and stop; raises OSError when that fails."""
        self._closing.set()
        self._dirty.set()
        await self._task  # never two writes at once
        await self._save()
