"""Promise: a backlog of large rows is worked off in the memory of a small machine."""

from __future__ import annotations

from pathlib import Path

from tests.support.things import connect, observed, watch_things
from tests.support.witness import Witness
from tests.support.workers import start_worker

ROWS, BYTES = 100, 4_000_000
MOST_MEGABYTES = 200


def peak_megabytes(pid: int) -> int:
    """The most memory that the process has ever had resident."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


async def test_a_hundred_rows_of_four_megabytes_take_little_memory(database_url: str) -> None:
    """Compressed to a hundredth they look small in the log; a hundred in one batch took 1,200 MB."""
    modules = observed("external")
    await watch_things(database_url, modules)
    async with await connect(database_url) as connection:
        for key in range(ROWS):
            await connection.execute(
                "insert into things values (%s, 0, repeat(md5(%s::text), %s))", (key, key, BYTES // 32)
            )
    async with (
        Witness() as witness,
        start_worker(database_url, modules, witness, OBSERVED_BATCH=str(ROWS)) as worker,
    ):
        await witness.until_done(ROWS, seconds=60)
        assert peak_megabytes(worker.pid) <= MOST_MEGABYTES
    assert len(witness.deliveries) == ROWS
