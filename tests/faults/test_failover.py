"""Promise: when a standby that lagged is promoted, what was delivered and is gone is said until it is settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.cli import hearken
from tests.support.served import Served, execute, prepare, served
from tests.support.standby import standby_of
from tests.support.waiting import eventually
from worker import Change, Context
from worker.declare.registry import Registry
from worker.dev.embedded import EmbeddedPostgres

PROMOTE = "select pg_promote(true, 30)"
TIMELINES = "select timeline, settled_at is not null from hearken.timelines order by timeline"
LOST = "select event_id, key from hearken.lost_events where handler = 'outside' order by event_id"


@dataclass
class Pair:
    """A primary and a standby that was left behind; `url` leads to whichever takes writes."""

    primary: EmbeddedPostgres
    standby: str
    given: list[tuple[int, str | None]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        one, other = urlsplit(self.primary.url), urlsplit(self.standby)
        hosts = f"{one.username}:{one.password}@127.0.0.1:{one.port},127.0.0.1:{other.port}"
        return one._replace(netloc=hosts, query="target_session_attrs=read-write").geturl()

    def registry(self, name: str = "outside") -> Registry:
        """A handler that writes outside, where nothing is set back."""

        async def outside(change: Change, ctx: Context) -> None:
            async with self.news:
                self.given.append((change.id, change.key))
                self.news.notify_all()

        declared = Registry()
        outside.__name__ = name
        declared.on("public.things")(outside)
        return declared

    async def until_given(self, count: int) -> None:
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: len(self.given) >= count)

    async def fail_over(self) -> None:
        """The primary dies; the standby takes over with what it has."""
        await asyncio.to_thread(self.primary.kill)
        await execute(self.standby, PROMOTE)


@pytest.fixture
async def pair(postgres: EmbeddedPostgres, server_directory: Path) -> AsyncIterator[Pair]:
    await prepare(postgres.url, Pair(postgres, "").registry())
    async with _working(postgres.url, Pair(postgres, "")) as worker:
        await worker.until_ready()  # so that the first timeline is written down
    data = server_directory / "postgres"
    async with standby_of(postgres, data, server_directory / "standby") as standby:
        yield Pair(postgres, standby)


@asynccontextmanager
async def _working(url: str, pair: Pair) -> AsyncIterator[Served]:
    async with served(url, pair.registry(), prepared=False, HEARKEN_CANARY_SECONDS=0) as worker:
        yield worker


async def test_events_that_were_delivered_and_lost_are_named(pair: Pair) -> None:
    """Whoever was given them remembers; ids that others have now are other events; red until a person settles it."""
    async with _working(pair.url, pair) as worker:
        await worker.until_ready()
        await execute(pair.primary.url, "insert into things select n, 'lost' from generate_series(1, 5) n")
        await pair.until_given(5)
        await pair.fail_over()
        await execute(pair.standby, "insert into things values (77, 'new'), (78, 'new')")
        await pair.until_given(7)
        assert pair.given[5:] == [(1, "77"), (2, "78")]  # the numbers of two that are gone
        line = await worker.until_red("failover", "has lost 5 events that outside had been given", "hearken failover")
        assert "lost'" not in line
        assert await execute(pair.standby, LOST) == [(n, str(n)) for n in range(1, 6)]
        told = await hearken(pair.standby, "failover", "--json", HEARKEN_HANDLERS="tests.support.sample_handlers")
        assert [(one["handler"], one["events"], one["keys"]) for one in told.json] == [("outside", 5, list("12345"))]
        settled = await hearken(pair.standby, "failover", "--settled", HEARKEN_HANDLERS="tests.support.sample_handlers")
        assert (settled.code, settled.err) == (0, "settled\n")
        await worker.until_ready()
    assert await execute(pair.standby, "select action, by <> '' from hearken.actions") == [("failover", True)]


async def test_a_failover_that_lost_nothing_turns_nothing_red(pair: Pair) -> None:
    """It is told by the doctor, since other workers may have been given what is gone."""
    async with _working(pair.url, pair) as worker:
        await worker.until_ready()
        await pair.fail_over()
        await execute(pair.standby, "insert into things values (1, 'x')")
        await pair.until_given(1)
        await worker.until_ready()
        assert await execute(pair.standby, TIMELINES) == [("00000001", True), ("00000002", False)]
        doctor = await hearken(pair.standby, "doctor", HEARKEN_HANDLERS="tests.support.sample_handlers")
        assert "what was committed last before may be lost: run `hearken failover`" in doctor.out


async def test_a_worker_that_starts_after_a_failover_notices_it(pair: Pair) -> None:
    """It remembers nothing; the database remembers its timelines."""
    await pair.fail_over()
    async with _working(pair.standby, pair) as worker:
        await worker.until_ready()
        await eventually(
            lambda: execute(pair.standby, TIMELINES), "second timeline", fits=lambda timelines: len(timelines) == 2
        )
    assert await execute(pair.standby, TIMELINES) == [("00000001", True), ("00000002", False)]
