"""Promise: `hearken doctor` says when the log lacks partitions, keeps old ones, or has events where none should be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.doctor import examined, watched
from tests.support.served import execute, prepare
from worker.doctor import log

OLD = """
create table hearken.events_20200101 partition of hearken.events for values from ('2020-01-01') to ('2020-01-02')
"""
LAST = "select inhrelid::regclass::text from pg_inherits where inhparent = 'hearken.events'::regclass order by 1"
PUT = "insert into hearken.events (at, topic, op, key) values (%s::timestamptz, 'public.things', 'insert', '1')"


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    """A database in which `things` are watched."""
    await prepare(empty_database_url, watched())
    yield empty_database_url


async def test_its_size_is_told(url: str) -> None:
    """The default partition, today's, and those of the days to come."""
    text = (await examined(url, watched())).about("log").text
    assert text.startswith("5 partitions, ")
    assert text.endswith(" kB")


async def test_a_missing_partition(url: str) -> None:
    """By its day, with what happens without it and what to do."""
    partition = (await execute(url, LAST))[-2][0]
    await execute(url, f"drop table {partition}")
    day = f"{partition[-8:-4]}-{partition[-4:-2]}-{partition[-2:]}"
    (await examined(url, watched())).problem("log", f"no partition for {day}", "hearken migrate", "a member of it")


async def test_events_in_the_default_partition(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem while new ones come; of the past they are only told, since nothing is to be done about them."""
    await execute(url, PUT, "2020-01-01 12:00")
    finding = (await examined(url, watched())).about("default partition")
    assert (finding.state, "has 1 events, from 2020-01-01 12:00:00" in finding.text) == ("ok", True)
    await execute(url, "drop table " + (await execute(url, LAST))[0][0])
    await execute(url, PUT, "now")
    monkeypatch.setattr(log, "COUNTED", 2)
    (await examined(url, watched())).problem("default partition", "has 2+ events", "hearken migrate")


async def test_an_old_partition_that_a_handler_is_not_done_with(url: str) -> None:
    """The handler is named; when it has passed, whoever should have dropped it is."""
    await execute(url, OLD)
    (await examined(url, watched())).problem(
        "old partitions", "1 should have been dropped", "2020-01-01", "no worker has"
    )
    await execute(url, PUT, "2020-01-01 12:00")
    (await examined(url, watched())).problem("old partitions", "hear still needs it", "hearken status")
    kept = await examined(url, watched(), HEARKEN_RETENTION_DAYS="36500")
    assert kept.about("old partitions").state == "ok"


async def test_a_clock_of_the_server_that_has_jumped(url: str) -> None:
    """How long everything is kept because of it; the statement it is told ends it where the clock is right."""
    await execute(url, "update hearken.retention set trusted = now() - interval '40 days'")
    text = (await examined(url, watched())).problem(
        "retention", "clock has jumped", "kept 39d 23h longer", "set a wrong clock right"
    )
    await execute(url, text.partition("right: ")[2])
    assert (await examined(url, watched())).about("retention").state == "ok"


async def test_what_the_canary_has_not_seen_keeps_no_partition(url: str) -> None:
    """It may have been turned off with an event under way."""
    await execute(url, OLD)
    await execute(url, PUT.replace("public.things", "hearken.canary"), "2020-01-01 12:00")
    (await examined(url, watched())).problem("old partitions", "no worker has dropped it")
