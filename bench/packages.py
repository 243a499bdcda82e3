"""The bulk sync of 2,000 profiles against a CRM that takes 20 ms for each answer, in a process of its own.

What the settings imply is a pause between two batches, and the calls of a batch, so many at a time. The CRM is a real
PostgREST on a second database, behind a gateway that adds the delay.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import psycopg

from bench.figure import Figure, at_most
from bench.stage import peak_megabytes, server
from handlers.packages import Crm, CrmSettings
from handlers.packages.bulk import PAUSE, SIDE_BY_SIDE, bulk_sync
from handlers.packages.result import SyncAnswer, SyncOptions
from tests.support.crm import open_crm
from tests.support.packages import MANY, THEIRS, migrate_packages
from worker.postgres.database import Database
from worker.settings import Settings

DELAY = 0.02


async def sync(url: str, crm_url: str, key: str, profiles: int) -> dict[str, float]:
    """Sync all profiles; returns the seconds it took and this process's peak memory in MB."""
    database = Database(Settings.model_validate({"DATABASE_URL": url}))
    await database.open()
    client = Crm(CrmSettings.model_validate({"url": crm_url, "key": key}))
    started = time.perf_counter()
    answer = await bulk_sync(client, database)
    seconds = time.perf_counter() - started
    await client.close()
    await database.close()
    assert isinstance(answer, SyncAnswer)
    assert answer.result.successful_profiles == profiles
    return {"seconds": seconds, "megabytes": peak_megabytes()}


async def measure(profiles: int) -> dict[str, float]:
    """Make both databases, and let a process of its own sync."""
    with server() as running:
        await migrate_packages(running.url)
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(MANY.format(n=profiles).encode())
        async with open_crm(running, delay=DELAY) as crm:
            await crm.execute(THEIRS.format(n=profiles))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.packages", running.url, crm.gateway.url, crm.gateway.key, str(profiles)),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
    measured: dict[str, float] = json.loads(output)
    return measured


def implied(profiles: int) -> float:
    """Seconds of the pauses and calls alone."""
    size = SyncOptions().batch_size
    batches = profiles / size
    return (batches - 1) * PAUSE + batches * size / SIDE_BY_SIDE * DELAY


def figures(*, quick: bool = False) -> list[Figure]:
    """The time beside what is implied, and the memory."""
    profiles = 100 if quick else 2000
    measured = asyncio.run(measure(profiles))
    name = f"bulk sync of {profiles:,} profiles"
    return [
        at_most(f"{name} / pauses and calls", measured["seconds"] / implied(profiles), 1.3),
        at_most(f"{name}, peak memory", measured["megabytes"], 200, "MB"),
    ]


if __name__ == "__main__":
    ours, theirs, key, profiles = sys.argv[1:]
    print(json.dumps(asyncio.run(sync(ours, theirs, key, int(profiles)))))
