"""Promise: the log is partitioned ahead, and old days go when nobody needs them; writers hardly wait for either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg.errors import LockNotAvailable
from structlog.testing import capture_logs

from tests.support.waiting import until_blocked
from tests.support.watched import declare
from worker.change import Change
from worker.declare.registry import Registry
from worker.deliver import runs
from worker.deliver.context import Context
from worker.deliver.progress import Turn
from worker.errors import DatabaseError
from worker.install.migrate import migrate
from worker.log import uncaptured
from worker.log.lookups import summarize
from worker.log.partitions import DROP, Partition, drop_partitions, index_closed, make_partitions, sweep_default
from worker.log.retention import Retention, follow_clock
from worker.outcomes import Park
from worker.postgres.database import Connection, Database
from worker.postgres.locks import retention_lock
from worker.settings import Settings
from worker.testing import Bench, bench

declared = Registry()
DAYS = 30
OLD = """
insert into hearken.events (at, topic, op, key, new)
values (now() - make_interval(days => %s), %s, 'insert', %s, '{}')
"""
NOTE = """
insert into hearken.uncaptured (at, topic, op, error)
values (now() - make_interval(days => %s), 'public.rooms', 'update', 'full')
"""
RUN = """
insert into hearken.runs (event_id, topic, source, state, asked_at, ended_at)
select 1, 'tick/x', 'tick', 'succeeded', at, at from (select now() - make_interval(days => %s) as at) x
"""
NAMES = """
select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'hearken.events'::regclass order by c.relname
"""


@declared.on("public.rooms", transactional=True)
async def hear(changes: Sequence[Change], ctx: Context) -> None:
    """Park what is called so."""
    if any(change.key == "bad" for change in changes):
        raise Park("told to")


def today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Log:
    """A log with a handler on rooms, and an operator's connection to it."""

    url: str
    bench: Bench

    @property
    def connection(self) -> Connection:
        return self.bench.connection

    async def partitions(self) -> list[str]:
        return [row["name"] for row in await self.bench.execute(NAMES)]

    async def make_old(self, days: int, *keys: str) -> Partition:
        """The partition of a day so long ago, with events of these keys in it."""
        partition = Partition(today() - timedelta(days=days))
        for statement in partition.statements():
            await self.connection.execute(statement)
        for key in keys:
            await self.bench.execute(OLD, (days, "public.rooms", key))
        return partition

    async def remove(self, partition: Partition) -> None:
        await self.connection.execute(DROP.format(partition.identifier))

    async def events_in(self, table: str) -> list[str]:
        rows = await self.bench.execute("select tableoid::regclass::text as place, key from hearken.events order by id")
        return [row["key"] for row in rows if row["place"] == f"hearken.{table}"]


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create table rooms (id text primary key)")
    async with bench(database_url, hear, declared=declared) as opened:
        yield Log(database_url, opened)


async def test_days_ahead_have_their_partition(log: Log) -> None:
    """Today and three more, made by `migrate`; an event lands in its day's."""
    ahead = [Partition(today() + timedelta(days=n)).name for n in range(4)]
    assert await log.partitions() == [*ahead, "events_default"]
    await log.bench.execute("insert into rooms values ('1')")
    assert await log.events_in(ahead[0]) == ["1"]
    assert await make_partitions(log.connection) == []


async def test_a_partition_is_made_while_writers_are_at_work(log: Log) -> None:
    """Neither an open writer nor one that comes in between is in the way: attaching locks neither."""
    missing = Partition(today() + timedelta(days=3))
    await log.remove(missing)
    async with await psycopg.AsyncConnection.connect(log.url) as writer:
        await writer.execute("insert into rooms values ('open')")
        assert await make_partitions(log.connection) == [missing]


async def test_only_one_process_takes_a_step(log: Log) -> None:
    """Another one that is at it is not waited for."""
    await log.remove(Partition(today()))
    await log.make_old(40)
    async with await psycopg.AsyncConnection.connect(log.url) as other:
        await other.execute("select pg_advisory_xact_lock(%s)", (retention_lock(),))
        assert await make_partitions(log.connection) == []
        assert await drop_partitions(log.connection, DAYS) == []
    assert await make_partitions(log.connection) == [Partition(today())]


async def test_a_passed_old_day_is_dropped(log: Log) -> None:
    """Older than the days to keep, and seen by every cursor; a younger one stays."""
    old, young = await log.make_old(DAYS + 1, "1"), await log.make_old(DAYS, "2")
    await log.bench.drain()
    assert await drop_partitions(log.connection, DAYS) == [old]
    assert young.name in await log.partitions()
    assert old.name not in await log.partitions()


async def test_a_day_that_a_cursor_has_not_passed_is_kept(log: Log) -> None:
    """An event that is yet to be delivered is never dropped, however old; other topics do not matter."""
    unheard, unseen = await log.make_old(41), await log.make_old(40, "1")
    await log.bench.execute(OLD, (41, "public.unheard", "1"))
    assert await drop_partitions(log.connection, DAYS) == [unheard]
    assert await log.events_in(unseen.name) == ["1"]
    await log.bench.drain()
    assert await drop_partitions(log.connection, DAYS) == [unseen]


async def test_a_day_with_a_parked_event_is_kept(log: Log) -> None:
    """Someone may yet retry it; once it is out of the way, the day goes."""
    old = await log.make_old(40, "bad")
    await log.bench.drain()
    assert [row["state"] for row in await log.bench.parked()] == ["dead"]
    assert await drop_partitions(log.connection, DAYS) == []
    await log.bench.execute("delete from hearken.parked")
    assert await drop_partitions(log.connection, DAYS) == [old]


async def test_nothing_is_dropped_while_a_cursor_is_from_another_database(log: Log) -> None:
    """What it has seen cannot be told."""
    old = await log.make_old(40)
    await log.bench.execute("update hearken.cursors set cluster = 'elsewhere'")
    with pytest.raises(DatabaseError, match="hearken rebase"):
        await drop_partitions(log.connection, DAYS)
    assert old.name in await log.partitions()


async def test_a_lock_that_is_not_to_be_had_is_given_up(log: Log) -> None:
    """An open writer keeps the log locked: the day stays until a later try, and the writer never notices."""
    old = await log.make_old(40)
    async with await psycopg.AsyncConnection.connect(log.url) as writer:
        await writer.execute("insert into rooms values ('open')")
        with pytest.raises(LockNotAvailable):
            await drop_partitions(log.connection, DAYS)
        await writer.commit()
    assert await drop_partitions(log.connection, DAYS) == [old]


async def test_a_writer_of_an_old_day_is_waited_for(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event is not visible yet: the day is no candidate before it has ended."""
    monkeypatch.setattr("worker.log.partitions.LOCK_TIMEOUT", "set local lock_timeout = '50ms'")
    old = await log.make_old(40)
    async with await psycopg.AsyncConnection.connect(log.url) as writer:
        await writer.execute(OLD, (40, "public.rooms", "late"))
        with pytest.raises(LockNotAvailable):
            await drop_partitions(log.connection, DAYS)
        await writer.commit()
    assert await drop_partitions(log.connection, DAYS) == []
    assert await log.events_in(old.name) == ["late"]


async def test_a_writer_that_commits_while_its_day_is_being_dropped_loses_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day was looked through before the commit: it is looked through again once nobody can write to it."""
    monkeypatch.setattr("worker.log.partitions.LOCK_TIMEOUT", "set local lock_timeout = '10s'")
    monkeypatch.setattr("worker.log.partitions.DROP_LOCK_TIMEOUT", "set local lock_timeout = '10s'")
    old = await log.make_old(40)
    async with await psycopg.AsyncConnection.connect(log.url) as writer:
        await writer.execute(OLD, (40, "public.rooms", "late"))
        dropping = asyncio.create_task(drop_partitions(log.connection, DAYS))
        async with await psycopg.AsyncConnection.connect(log.url, autocommit=True) as watcher:
            await until_blocked(watcher)
        await writer.commit()
        assert await dropping == []
    await log.bench.drain()
    assert await drop_partitions(log.connection, DAYS) == [old]


@pytest.mark.parametrize("state", ["paused", "stepping aside", "moved since"])
async def test_a_day_is_kept_for_a_handler_that_does_not_move(log: Log, state: str) -> None:
    """Whoever lets its cursor be has it yet to pass; what is moved to another topic is no longer in that day."""
    old = await log.make_old(40, "1")
    if state == "paused":
        await log.bench.execute("insert into hearken.paused (handler, by, reason) values ('hear', 'anna', 'x')")
    elif state == "stepping aside":
        await log.bench.execute("update hearken.declarations set declaration = declaration || '{\"fold\": true}'")
    else:
        await log.bench.execute("alter table rooms rename to chambers")
        await migrate(log.connection, declare("public.chambers", "hear", transactional=True))
    assert await log.bench.consumers[0].turn() in (Turn.PAUSED, Turn.ASIDE)
    assert await drop_partitions(log.connection, DAYS) == ([old] if state == "moved since" else [])
    left = await log.bench.execute("select topic from hearken.events where key = '1'")
    assert {row["topic"] for row in left} == {"public.chambers" if state == "moved since" else "public.rooms"}


async def test_what_a_move_that_was_broken_off_has_taken_along_is_kept(log: Log) -> None:
    """It goes on where it was, however late: in a day of its own and in the default partition."""
    old = await log.make_old(40)
    for days in (40, 41):
        await log.bench.execute(OLD, (days, "public.chambers", "1"))
    await log.bench.execute(
        "insert into hearken.moves (handler, topic, heard, target, last_id)"
        " values ('hear', 'public.chambers', '{public.rooms}', pg_current_snapshot(), 0)"
    )
    assert await drop_partitions(log.connection, DAYS) == []
    assert await sweep_default(log.connection, DAYS) == 0
    await log.bench.execute("delete from hearken.moves")
    assert await drop_partitions(log.connection, DAYS) == [old]
    assert await sweep_default(log.connection, DAYS) == 1


@pytest.mark.parametrize("days", [40, -40], ids=["back", "ahead"])
async def test_a_clock_that_jumps_loses_nothing(log: Log, days: int) -> None:
    """An event of a day that has no partition, or had one, is delivered, and deleted no sooner than that."""
    await log.bench.execute(OLD, (days, "public.rooms", "odd"))
    assert await log.events_in("events_default") == ["odd"]
    assert await sweep_default(log.connection, DAYS) == 0
    assert await drop_partitions(log.connection, DAYS) == []
    assert await log.bench.drain() == 1
    assert await sweep_default(log.connection, DAYS) == (1 if days > 0 else 0)


async def test_what_is_parked_in_the_default_partition_is_not_swept(log: Log) -> None:
    """Someone may yet retry it."""
    await log.bench.execute(OLD, (40, "public.rooms", "bad"))
    await log.bench.drain()
    assert await sweep_default(log.connection, DAYS) == 0
    await log.bench.execute("delete from hearken.parked")
    assert await sweep_default(log.connection, DAYS) == 1


async def test_events_of_the_default_partition_are_left_in_peace_and_swept_when_old(log: Log) -> None:
    """A day that has events there keeps them there; old and passed ones are deleted one by one."""
    await log.remove(Partition(today()))
    await log.bench.execute("insert into rooms values ('today')")
    await log.bench.execute(OLD, (40, "public.rooms", "old"))
    assert await make_partitions(log.connection) == []
    assert await sweep_default(log.connection, DAYS) == 0
    await log.bench.drain()
    assert await sweep_default(log.connection, DAYS) == 1
    assert await log.events_in("events_default") == ["today"]


AHEAD = "update hearken.retention set trusted = now() - make_interval(days => %s), seen = now() - %s::interval"
BEHIND = "select extract(epoch from now() - trusted) / 3600 as hours from hearken.retention"


async def hours_behind(log: Log) -> float:
    """By how much retention's clock is behind the server's."""
    ((row),) = await log.bench.execute(BEHIND)
    return float(row["hours"])


@pytest.fixture
def retention(log: Log) -> Retention:
    """What runs hourly beside the consumers."""
    return Retention(Database(Settings.model_validate({"DATABASE_URL": log.url})), DAYS, also=[runs.sweep])


async def test_a_clock_that_jumps_ahead_makes_nothing_old(log: Log, retention: Retention) -> None:
    """Forty days within an hour: what was delivered a day ago by the right clock is there, wherever it is kept."""
    old = await log.make_old(DAYS + 11, "1")
    await log.bench.execute(OLD, (DAYS + 12, "public.rooms", "stray"))
    await log.bench.execute(NOTE, (DAYS + 11,))
    await log.bench.execute(RUN, (DAYS + 11,))
    await log.bench.drain()
    await log.bench.execute(AHEAD, (40, "1 hour"))
    for _ in range(3):
        await retention.tidy()
    assert old.name in await log.partitions()
    assert await log.events_in("events_default") == ["stray"]
    assert len(await log.bench.execute("select at from hearken.uncaptured")) == 1
    assert len(await log.bench.execute("select topic from hearken.runs")) == 1
    assert await hours_behind(log) > 39 * 24


async def test_what_is_not_delivered_stays_whatever_the_clock_says(log: Log, retention: Retention) -> None:
    """Also once the wrong time is believed."""
    old = await log.make_old(DAYS + 11, "1")
    await retention.tidy()
    assert await hours_behind(log) == pytest.approx(0, abs=0.1)
    assert old.name in await log.partitions()


@pytest.mark.parametrize(
    ("gap", "follows"),
    [("1 hour", 2), ("23 hours", 46), ("30 days", 1), ("-1 hour", 0), ("-30 days", 0)],
)
async def test_the_clock_is_followed_at_twice_its_pace_at_most(log: Log, gap: str, follows: float) -> None:
    """A day without a look is made good for within a day; a longer one may be a jump. Back is not on."""
    await log.bench.execute(AHEAD, (40, gap))
    await follow_clock(log.connection)
    assert 40 * 24 - await hours_behind(log) == pytest.approx(follows, abs=0.1)


async def test_a_clock_that_goes_back_is_followed_at_once(log: Log) -> None:
    """Else it would be trusted on the day on which it is set right: events of the time between would look old."""
    await log.bench.execute(AHEAD, (-40, "-40 days"))
    assert await follow_clock(log.connection) == 0
    assert await hours_behind(log) == pytest.approx(0, abs=0.1)


async def test_a_clock_that_was_back_and_is_set_right_makes_nothing_old(log: Log, retention: Retention) -> None:
    """What was written meanwhile has the wrong day, and is kept as if it were right."""
    await log.bench.execute(AHEAD, (40, "40 days"))  # looked at while it was back
    young = await log.make_old(40, "1")
    await log.bench.drain()
    await retention.tidy()
    assert young.name in await log.partitions()


async def test_old_notes_of_what_was_not_captured_are_deleted(
    log: Log, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like the log, after so many days; in batches, and said."""
    monkeypatch.setattr(uncaptured, "TRIM", uncaptured.TRIM.replace("5000", "2"))
    for days in (DAYS - 1, *[DAYS + 1] * 5):
        await log.bench.execute(NOTE, (days,))
    with capture_logs() as said:
        await retention.tidy()
    assert len(await log.bench.execute("select at from hearken.uncaptured")) == 1
    assert [(line["topic"], line["statements"]) for line in said if "never captured" in line["event"]] == [
        ("public.rooms", 5)
    ]


async def test_the_service_outlives_its_database(log: Log) -> None:
    """Whatever goes wrong is tried again, and the days are in order in the end."""
    await log.remove(Partition(today()))
    database = Broken(Settings.model_validate({"DATABASE_URL": log.url}))
    running = asyncio.create_task(Retention(database, DAYS, soon=0.001).run())
    await asyncio.wait_for(database.third.wait(), 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert Partition(today()).name in await log.partitions()


class Broken(Database):
    """A database that is away at first."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tries = 0
        self.third = asyncio.Event()

    async def connect(self) -> Connection:
        self.tries += 1
        if self.tries < 3:
            raise psycopg.OperationalError("away")
        connection = await super().connect()
        closing = connection.close

        async def close() -> None:
            await closing()
            self.third.set()

        connection.close = close  # type: ignore[method-assign]
        return connection


async def test_days_without_an_index_on_their_keys_get_it_once_they_are_over(log: Log) -> None:
    """Days of an earlier version; today's is left alone while it is written to. What is new is summarized."""
    old, young = await log.make_old(2, "1"), Partition(today())
    for partition in (old, young):
        await log.connection.execute(f"drop index hearken.{partition.name}_key".encode())
    async with await psycopg.AsyncConnection.connect(log.url) as writer:
        await writer.execute("insert into hearken.events (topic, op, key) values ('public.rooms', 'insert', '2')")
        assert await index_closed(log.connection) == [old.name]
        assert await index_closed(log.connection) == []
    (row,) = await log.bench.execute("select to_regclass(%s) as there", (f"hearken.{young.name}_key",))
    assert row["there"] is None


async def test_what_was_appended_is_summarized(log: Log) -> None:
    """Each hour, in today's partition: afterwards its ranges of pages are known to the index."""
    name = f"hearken.{Partition(today()).name}"
    await log.bench.execute(
        "insert into hearken.events (topic, op, key)"
        " select 'public.rooms', 'insert', i::text from generate_series(1, 5000) i"
    )
    await summarize(log.connection)
    (row,) = await log.bench.execute("select brin_summarize_new_values(%s::regclass) as left_over", (f"{name}_key",))
    assert row["left_over"] == 0
