"""Promise 1 in a copy of a database, whose cursors count another's transactions: refused, rebased, nothing lost."""

from __future__ import annotations

from signal import SIGTERM
from urllib.parse import urlsplit

from tests.support.cli import hearken
from tests.support.postgres import new_database
from tests.support.things import observed, watch_things, write_things
from tests.support.witness import Witness
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres

MODULES = observed("external")


async def test_a_clone_is_refused_until_it_is_rebased(database_url: str, shared_postgres: EmbeddedPostgres) -> None:
    """The worker names `hearken rebase` and delivers nothing; afterwards every event that was open arrives, once."""
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        await write_things(database_url, keys=2, versions=range(2))
        async with start_worker(database_url, MODULES, witness, OBSERVED_BATCH="2") as worker:
            await witness.until_done(4)
            worker.send(SIGTERM)
            assert await worker.ended() == 0
        await write_things(database_url, keys=2, versions=range(2, 4))
        with new_database(shared_postgres, urlsplit(database_url).path.removeprefix("/")) as clone_url:
            await write_things(clone_url, keys=2, versions=range(4, 5))
            async with start_worker(clone_url, MODULES, witness) as worker:
                line = await worker.said("batch rolled back", handler="see")
                assert "was written in another database" in line["reason"]
                assert "run `hearken rebase`" in line["reason"]
                assert len(witness.events()) == 4
                rebased = await hearken(clone_url, "rebase", "--yes")
                assert rebased.code == 0, rebased.err
                await witness.until_done(10)
            assert witness.versions() == {"0": [*range(5)], "1": [*range(5)]}
            assert len(witness.events()) == 10
