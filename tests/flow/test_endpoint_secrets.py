"""Promise: the secret of the endpoints is nowhere but in the worker's memory, also at debug level."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import aiohttp

from tests.support import jobs
from tests.support.asking import SECRET
from tests.support.cli import program, start
from tests.support.served import execute

JOBS = jobs.__name__
CONTENTS = """
select row_to_json(t)::text from hearken.events t union all select row_to_json(t)::text from hearken.runs t
union all select row_to_json(t)::text from hearken.parked t
"""


async def _port(lines: list[str], reader: asyncio.StreamReader) -> int:
    """Read the log until it says where HTTP is."""
    while "listening for HTTP" not in (line := (await reader.readline()).decode()):
        lines.append(line)
    lines.append(line)
    return int(line.split('"port": ')[1].split(",")[0].rstrip("}\n "))


async def test_the_secret_is_in_no_log_and_no_table(database_url: str) -> None:
    """Neither one that came in a header nor one in a query, right or wrong."""
    assert (await program(database_url, "migrate", HEARKEN_HANDLERS=JOBS)).code == 0
    environment = {"HEARKEN_HANDLERS": JOBS, "HEARKEN_LOG_LEVEL": "debug", "PORT": "0", "CRON_SECRET": SECRET}
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(start(database_url, "run", HEARKEN_HOST="127.0.0.1", **environment))
        assert worker.stderr is not None
        lines: list[str] = []
        async with asyncio.timeout(30):
            port = await _port(lines, worker.stderr)
        session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        statuses = []
        for query, headers in (
            (f"?secret={SECRET}&wait=5", {}),
            ("?wait=5", {"Authorization": f"Bearer {SECRET}"}),
            ("?secret=wrong-guess-of-it", {}),
            (f"?secret={SECRET}", {"Authorization": f"Bearer {SECRET}x"}),
        ):
            async with session.post(f"/count{query}", json={"to": 0}, headers=headers) as reply:
                lines.append(await reply.text())
                statuses.append(reply.status)
        assert statuses == [200, 200, 401, 401]
        worker.send_signal(signal.SIGTERM)
        lines.append((await worker.communicate())[1].decode())
    tables = await execute(database_url, CONTENTS)
    assert len(tables) == 4
    said = "\n".join(lines) + str(tables)
    assert "/count" in said
    assert SECRET not in said
    assert "wrong-guess" not in said


async def test_a_short_secret_is_refused(database_url: str) -> None:
    """And not shown."""
    refused = await program(database_url, "run", HEARKEN_HANDLERS=JOBS, CRON_SECRET="hunter2")
    assert (refused.code, "CRON_SECRET" in refused.err, "hunter2" in refused.err) == (2, True, False)
