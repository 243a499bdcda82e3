"""Promise: `hearken rebase` makes a restored dump work, with the tools an administrator has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.cli import Rooms, hearken
from tests.support.sample_handlers import note_room, price_room
from worker.dev.embedded import EmbeddedPostgres
from worker.dev.programs import find_programs
from worker.testing import bench

BURN = "do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$"


def dump_and_restore(source: str, target: str, folder: Path) -> None:
    """pg_dump here, psql there."""
    programs, file = find_programs(16), str(folder / "dump.sql")
    subprocess.run([programs / "pg_dump", "--file", file, source], check=True)
    subprocess.run([programs / "psql", "-qXo", "/dev/null", "-v", "ON_ERROR_STOP=1", "-f", file, target], check=True)


async def test_a_dump_restored_into_a_new_cluster_goes_on(
    rooms: Rooms, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The old cluster is far ahead in transaction ids: its events must not look as if they were yet to come."""
    await rooms.execute(BURN)
    await rooms.execute("insert into rooms values (1, 'delivered', 1)")
    await rooms.bench.drain()
    await rooms.execute("insert into rooms values (2, 'undelivered', 2)")
    dump_and_restore(rooms.url, postgres.url, tmp_path)
    assert (await hearken(postgres.url, "rebase")).code == 2  # no terminal to confirm on
    rebased = await hearken(postgres.url, "rebase", "--yes", "--json")
    assert rebased.code == 0, rebased
    assert rebased.json["appended"] == {"note_room": 1, "price_room": 1}
    async with bench(postgres.url, note_room, price_room) as restored:
        await restored.execute("insert into rooms values (3, 'new', 3)")
        await restored.drain()
        delivered = Rooms(postgres.url, restored).delivered
        assert await delivered("note_room") == await delivered("price_room") == [(1, None), (3, 2), (4, None)]
    again = await hearken(postgres.url, "rebase", "--yes")
    assert (again.code, "nothing to rebase" in again.err) == (1, True)
