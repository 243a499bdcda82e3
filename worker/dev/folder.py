"""The folder in which one `hearken dev` keeps everything; `surroundings` fills it.

PATH/lock         locked for as long as the process lives, with its id in it
PATH/postgres/    the embedded Postgres, see `directory`
PATH/…            the state of each stand-in
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import UsageError


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Make the folder when missing, and hold it; yields its absolute path.

    A lock of the operating system, so that kill -9 leaves none behind. Raises UsageError when another process has it,
    or when nothing can be written there.
    """
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".gitignore").write_text("*\n")
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write to {path} ({error.strerror}): choose another folder with --data") from error
    try:
        _acquire(lock, path)
        yield path
    finally:
        os.close(lock)


def _acquire(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = os.pread(lock, 20, 0).decode().strip() or "unknown"
        raise UsageError(
            f"`hearken dev` is already running in {path} (process {process}): "
            "use that one, or stop it, or give this one another folder with --data"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
