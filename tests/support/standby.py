"""A hot standby: a real server that answers queries and is never written to."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.postgres import FAST
from tests.support.versions import tested
from tests.support.waiting import eventually
from worker.dev.directory import ServerDirectory
from worker.dev.embedded import EmbeddedPostgres
from worker.dev.ports import free_port


@asynccontextmanager
async def standby_of(primary: EmbeddedPostgres, data: Path, place: Path) -> AsyncIterator[str]:
    """The URL of a standby in the directory `place`, made from the primary's `data`, which is stopped for that.

    It waits for changes that never come, as one does whose primary is away.
    """
    await asyncio.to_thread(primary.stop)
    await asyncio.to_thread(subprocess.run, ["cp", "-a", str(data), str(place)], check=True)
    await asyncio.to_thread(primary.start)
    signal = place / "cluster" / "standby.signal"
    shutil.copy(place / "cluster" / "PG_VERSION", signal)  # its content is not looked at
    shutil.copystat(place / "cluster" / "PG_VERSION", signal)
    port = free_port()
    settings = {**FAST, "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    directory = ServerDirectory(place, tested().version, tested().programs)
    with directory.claimed() as lock:
        (place / "cluster" / "postmaster.pid").unlink(missing_ok=True)
        process = directory.run_server(settings, lock)
    try:

        async def begun() -> bool:
            said = directory.last_words()
            assert process.poll() is None, said
            return "redo starts" in said or "ready to accept" in said

        await eventually(begun, "standby")
        parts = urlsplit(primary.url)
        yield parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
