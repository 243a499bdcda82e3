"""Promise: `hearken doctor` says what is wrong with the server, the way to it, and the role."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.doctor import examined, role_of, watched
from tests.support.pooler import Pooler
from tests.support.postgres import FAST, server_in
from tests.support.proxy import proxy_to
from tests.support.served import execute, prepare, served
from tests.support.standby import standby_of
from worker.dev.embedded import EmbeddedPostgres
from worker.doctor import examination, transactions
from worker.doctor.finding import Finding
from worker.doctor.patient import Patient
from worker.errors import MigrationError
from worker.postgres import database

EVERYTHING = {"notifications", "rights", "migrations", "tables", "handlers", "transactions", "connections"}


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    """A database in which `things` are watched."""
    await prepare(empty_database_url, watched())
    yield empty_database_url


@asynccontextmanager
async def in_transaction(url: str, statement: str = "select 1") -> AsyncIterator[psycopg.AsyncConnection]:
    """A session of the application "reports" that stays in a transaction."""
    async with await psycopg.AsyncConnection.connect(url, application_name="reports") as connection:
        await connection.execute(statement.encode())
        yield connection
        await connection.rollback()


async def test_a_server_that_is_away(postgres: EmbeddedPostgres) -> None:
    """Said once, with what cannot be known because of it; what needs no database is looked at."""
    postgres.stop()
    findings = await examined(postgres.url, watched())
    findings.problem("database", "cannot be reached", "refused")
    skipped = findings.unknown("not looked at", "the database is unreachable")
    assert all(name in skipped for name in EVERYTHING)
    assert findings.about("settings").state == findings.about("code").state == "ok"


async def test_a_server_that_falls_silent(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows everything in the middle of it: each check gives up; after two, no more are made."""
    monkeypatch.setattr(examination, "CHECK_WITHIN", 1.0)
    async with proxy_to(url) as network:
        monkeypatch.setattr(examination, "CHECKS", [_freezing(check, network.freeze) for check in examination.CHECKS])
        findings = await examined(network.through(url), watched())
        network.thaw()
    findings.unknown("clock", "no answer within 1 s")
    findings.unknown("migrations", "no answer within 1 s")
    findings.unknown("not looked at", "tables", "transactions")
    assert findings.about("rights").state == "ok"


def _freezing(check: examination.DoctorCheck, freeze: Callable[[], None]) -> examination.DoctorCheck:
    """The check, before which the network freezes if it is that of the clock."""
    if check.name != "clock":
        return check

    async def look(patient: Patient) -> list[Finding]:
        freeze()
        return await check.look(patient)

    return examination.DoctorCheck(check.name, look)


async def test_a_pooler_in_transaction_mode(url: str) -> None:
    """What to give instead."""
    async with Pooler(url, "transaction") as pooler:
        findings = await examined(pooler.url, watched())
    findings.problem("database", "pooler in transaction mode", "use the server's own address")


async def test_a_pooler_that_loses_notifications(url: str) -> None:
    """All else works there: this alone is wrong."""
    async with Pooler(url, "deaf") as pooler:
        findings = await examined(pooler.url, watched())
    findings.problem("notifications", "did not come back, so workers poll", "session mode")
    assert findings.bad == {"notifications"}


async def test_a_read_replica(postgres: EmbeddedPostgres, server_directory: Path) -> None:
    """A worker must write."""
    await prepare(postgres.url, watched())
    async with standby_of(postgres, server_directory / "postgres", server_directory / "standby") as url:
        findings = await examined(url, watched())
    findings.problem("database", "points to a read replica: use the primary's")


async def test_a_server_that_is_too_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """(No older one is at hand: this one is declared to be.)"""
    monkeypatch.setattr(database, "OLDEST_SERVER", 990000)
    (await examined(url, watched())).problem("database", "older than Postgres 14", "upgrade it")


async def test_a_database_that_takes_no_writes(url: str) -> None:
    """Set read-only for everyone."""
    ((name,),) = await execute(url, "select current_database()")
    await execute(url, f"alter database {name} set default_transaction_read_only = on")
    (await examined(url, watched())).problem("database", "is read-only", "default_transaction_read_only")


async def test_a_role_without_rights(url: str) -> None:
    """The statements that are wanting, and what it may not look at."""
    async with role_of(url, "Worker-2") as theirs:
        findings = await examined(theirs, watched())
    findings.problem("rights", 'grant usage on schema hearken to "Worker-2"')
    findings.unknown("handlers", "the role may not read this", "run the doctor with the owner's role")
    findings.unknown("default partition", "the role may not read this")


async def test_transactions_of_others_that_cannot_be_seen(url: str) -> None:
    """A role that sees nothing of other roles' sessions does not call that fine."""
    async with role_of(url, "peeper", "grant pg_read_all_data to {}") as theirs, in_transaction(url):
        findings = await examined(theirs, watched())
        findings.unknown("transactions", "sessions of other roles cannot be seen: grant pg_read_all_stats to peeper")
        await execute(url, "grant pg_read_all_stats to peeper")
        findings = await examined(theirs, watched())
    assert "reports" in findings.about("transactions").text


async def test_clocks_that_differ(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By how much, and which is ahead. (This machine's is made to look wrong.)"""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 90)
    (await examined(url, watched())).problem("clock", "this machine's clock is 90.0 s behind the database's", "NTP")


async def test_a_transaction_that_stays_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who it is, by pid, application, role and age, and how to end it. Until it is old it is only named."""
    async with in_transaction(url) as connection:
        pid = connection.info.backend_pid
        text = (await examined(url, watched())).about("transactions").text
        assert text == f"the oldest is pid {pid} (reports, role postgres, idle in transaction), open for <1s"
        monkeypatch.setattr(transactions, "LONG", 0.0)
        findings = await examined(url, watched())
        findings.problem("transactions", f"pid {pid} (reports,", f"select pg_terminate_backend({pid})")


async def test_a_prepared_transaction(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name under which it is to be ended; it belongs to no session."""
    settings = {**FAST, "max_prepared_transactions": "2"}
    with server_in(server_directory / "postgres", settings) as server:
        await prepare(server.url, watched())
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
            await connection.execute("begin")
            await connection.execute("insert into things values (1, 'x')")
            await connection.execute("prepare transaction 'half a booking'")
        assert (await examined(server.url, watched())).about("prepared transactions").text == "1 are waiting"
        monkeypatch.setattr(transactions, "LONG", 0.0)
        findings = await examined(server.url, watched())
        findings.problem("prepared transactions", "'half a booking' of role postgres", "rollback prepared")


async def test_a_notification_queue_that_fills(server_directory: Path) -> None:
    """A listener that stays in a transaction keeps it from being emptied."""
    settings = {**FAST, "max_notify_queue_pages": "64"}
    with EmbeddedPostgres(server_directory / "postgres", version=18, settings=settings) as server:
        await prepare(server.url, watched())
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as listener:
            await listener.execute("listen anything")
            await listener.execute("begin")
            await listener.execute("select 1")
            for i in range(30):
                await execute(server.url, "select pg_notify('anything', %s || repeat('x', 7000))", str(i))
            text = (await examined(server.url, watched())).problem(
                "notification queue", "of the server's queue is in use", "a listening session has an open transaction"
            )
            assert int(text.partition("%")[0]) >= 30
            await listener.execute("rollback")


async def test_more_connections_than_the_server_has(server_directory: Path) -> None:
    """What a worker's settings need, against what max_connections leaves."""
    with server_in(server_directory / "postgres", {**FAST, "max_connections": "13"}) as server:
        await prepare(server.url, watched())
        findings = await examined(server.url, watched())
        findings.problem("connections", "workers need up to 14, but max_connections leaves 10", "HEARKEN_BATCHES")
        small = await examined(server.url, watched(), HEARKEN_BATCHES="2", HEARKEN_CONNECTIONS="2")
        assert small.about("connections").state == "ok"
        async with AsyncExitStack() as stack:
            for _ in range(9):
                await stack.enter_async_context(in_transaction(server.url))
            full = await examined(server.url, watched(), HEARKEN_BATCHES="2", HEARKEN_CONNECTIONS="2")
        full.problem("connections", "of 10 are in use: close some, or raise max_connections")


async def test_more_connections_than_the_role_or_database_may_have(url: str) -> None:
    """Each limit is named."""
    ((name,),) = await execute(url, "select current_database()")
    await execute(url, f"alter database {name} connection limit 5")
    async with role_of(url, "modest", "alter role {} connection limit 3", "grant pg_read_all_data to {}") as theirs:
        findings = await examined(theirs, watched())
    findings.problem("connections", "role modest may have 3", f"database {name} may have 5")


async def test_several_workers_need_more(url: str) -> None:
    """Those that are connected are counted, and named by what they take."""
    async with served(url, watched(), prepared=False) as worker:
        await worker.until_ready()
        findings = await examined(url, watched())
    assert findings.about("connections").text.startswith("workers: 1, up to 14 connections each")


async def test_a_server_where_transactions_can_be_prepared(server_directory: Path) -> None:
    """Triggers do not notify there, and how they would if nobody prepares any; said, not a problem."""
    settings = {**FAST, "max_prepared_transactions": "2"}
    with server_in(server_directory / "postgres", settings) as server:
        await prepare(server.url, watched())
        text = (await examined(server.url, watched())).about("notifications").text
        assert "triggers do not notify and workers look twice a second" in text
        await execute(server.url, text.rpartition("nobody prepares any: ")[2])
        assert "twice a second" not in (await examined(server.url, watched())).about("notifications").text


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
async def test_a_database_that_lacks_characters_is_refused(url: str, encoding: str) -> None:
    """By `migrate`, with what to do; the doctor says the same."""
    name = f"other_{uuid4().hex[:8]}"
    await execute(url, f"create database {name} encoding '{encoding}' template template0 locale 'C'")
    try:
        other = make_conninfo(url, dbname=name)
        with pytest.raises(MigrationError, match=f"keeps text as {encoding}.*encoding 'UTF8' template template0"):
            await prepare(other, watched())
        (await examined(other, watched())).problem("encoding", f"keeps text as {encoding}", "encoding 'UTF8'")
    finally:
        await execute(url, f"drop database {name} with (force)")


async def test_the_server_is_asked_for_its_encoding(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler may pass on no more than it knows of."""
    monkeypatch.setattr(psycopg.ConnectionInfo, "parameter_status", lambda self, name: None)
    await prepare(url, watched())


async def test_a_role_that_may_not_ask_which_database_this_is(url: str) -> None:
    """The statement that is wanting; nothing else could be looked at."""
    async with role_of(url, "guest", "grant usage on schema hearken to {}") as theirs:
        await execute(url, "revoke execute on function pg_control_system() from public")
        try:
            findings = await examined(theirs, watched())
            findings.problem("database", "grant execute on function pg_catalog.pg_control_system() to")
        finally:
            await execute(url, "grant execute on function pg_control_system() to public")


async def test_a_failover_that_nobody_has_settled(url: str) -> None:
    """What was noticed, and the command that shows what to reconcile."""
    await execute(
        url,
        "insert into hearken.timelines (cluster, timeline, noticed_at) select cluster, t.timeline, now() + t.later"
        " from (select distinct cluster from hearken.cursors) c,"
        " (values ('00000001', interval '0'), ('00000002', interval '1 s')) t (timeline, later)",
    )
    (await examined(url, watched())).problem("failover", "run `hearken failover`")


async def test_a_database_that_does_not_check_text(url: str) -> None:
    """What its events may end as, and what to do."""
    name = f"ascii_{uuid4().hex[:8]}"
    await execute(url, f"create database {name} encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
    try:
        other = make_conninfo(url, dbname=name)
        await prepare(other, watched())
        (await examined(other, watched())).problem("encoding", "SQL_ASCII", "ends dead", "encoding 'UTF8'")
    finally:
        await execute(url, f"drop database {name} with (force)")
    assert (await examined(url, watched())).about("encoding").text == "UTF8"
