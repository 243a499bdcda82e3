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

from bench.stage import peak_megabytes, server
from handlers.packages import Crm, CrmSettings
from handlers.packages.bulk import PAUSE, SIDE_BY_SIDE, bulk_sync
from handlers.packages.result import SyncAnswer, SyncOptions
from tests.support.crm import open_crm
from tests.support.packages import MANY, THEIRS, migrate_packages
from worker.postgres.database import Database
from worker.settings import Settings

PROFILES = 2000
DELAY = 0.02


async def sync(url: str, crm_url: str, key: str) -> dict[str, float]:
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
    assert answer.result.successful_profiles == PROFILES
    return {"seconds": seconds, "megabytes": peak_megabytes()}


async def measure() -> dict[str, float]:
    """Make both databases, and let a process of its own sync."""
    with server() as running:
        await migrate_packages(running.url)
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(MANY.format(n=PROFILES).encode())
        async with open_crm(running, delay=DELAY) as crm:
            await crm.execute(THEIRS.format(n=PROFILES))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.packages", running.url, crm.gateway.url, crm.gateway.key),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
    measured: dict[str, float] = json.loads(output)
    return measured


def implied() -> float:
    """Seconds of the pauses and calls alone."""
    size = SyncOptions().batch_size
    batches = PROFILES / size
    return (batches - 1) * PAUSE + batches * size / SIDE_BY_SIDE * DELAY


def main() -> None:
    """Print the time beside what is implied, and the memory."""
    measured = asyncio.run(measure())
    ratio = measured["seconds"] / implied()
    print(
        f"bulk sync of {PROFILES:,} profiles: {measured['seconds']:.1f} s, {ratio:.2f} of the {implied():.1f} s that"
        f" pauses and calls take (figure: 1.3); {measured['megabytes']:.0f} MB (figure: 200)"
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(asyncio.run(sync(*sys.argv[1:]))))
    else:
        main()
