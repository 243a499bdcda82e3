"""Promise: no setting of a server, database, role, URL or environment changes what a session of ours does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests.support.postgres import FAST
from tests.support.things import connect
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import NotAllowed
from worker.postgres.connection import Connection
from worker.postgres.database import Database
from worker.postgres.own_connection import Inspection
from worker.postgres.session import BATCH, PINNED
from worker.settings import Settings

# For each setting that is pinned, a value with which something would go wrong.
HOSTILE = {
    "row_security": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "transaction_timeout": "1min",
    "idle_in_transaction_session_timeout": "1min",
    "idle_session_timeout": "1min",
    "exit_on_error": "on",
    "tcp_keepalives_idle": "7000",
    "tcp_keepalives_interval": "700",
    "tcp_keepalives_count": "70",
    "tcp_user_timeout": "70000",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-3",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "xmlbinary": "hex",
    "xmloption": "document",
    "lc_monetary": "POSIX",
    "lc_numeric": "POSIX",
    "lc_time": "POSIX",
    "statement_timeout": "1min",
    "lock_timeout": "1min",
}
LIMITS = {"statement_timeout": "30000", "lock_timeout": "30000"}
SHOWN = "select name, setting from pg_settings where name = any(%s)"


def database_at(url: str) -> Database:
    return Database(Settings.model_validate({"DATABASE_URL": url, "HEARKEN_CONNECTIONS": "1"}))


@asynccontextmanager
async def direct(database: Database) -> AsyncIterator[Connection]:
    async with await database.connect() as connection:
        yield connection


@asynccontextmanager
async def inspection(database: Database) -> AsyncIterator[Connection]:
    looking = Inspection(database)
    async with looking.connection() as connection:
        yield connection
    await looking.close()


KINDS: dict[str, Callable[[Database], AbstractAsyncContextManager[Connection]]] = {
    "a connection of its own": direct,
    "the one to look with": inspection,
    "a batch": lambda database: database.batch(),
    "a handler's": lambda database: database.connection("somebody"),
    "the engine's": lambda database: database.engine.connection(),
    "the reserve": lambda database: database.reserve.connection(),
}


async def shown(connection: Connection) -> dict[str, str]:
    """What the server says of the settings that matter."""
    rows = await (await connection.execute(SHOWN, ([*PINNED, *LIMITS],))).fetchall()
    return {row["name"]: row["setting"] for row in rows}


async def differing(database: Database) -> dict[str, dict[str, str]]:
    """For each kind of connection, the settings that are not as pinned."""
    await database.open()
    found = {}
    try:
        for kind, opened in KINDS.items():
            async with opened(database) as connection:
                expected = {**PINNED, **({} if opened is inspection else LIMITS)}
                if kind == "a batch":
                    expected["idle_in_transaction_session_timeout"] = BATCH["idle_in_transaction_session_timeout"]
                has = await shown(connection)
                found[kind] = {name: has[name] for name, value in expected.items() if has.get(name, value) != value}
    finally:
        await database.close()
    return {kind: settings for kind, settings in found.items() if settings}


async def known_settings(url: str) -> dict[str, str]:
    """The hostile ones that this server knows."""
    async with await connect(url) as connection:
        rows = await (await connection.execute("select name from pg_settings")).fetchall()
    return {name: value for name, value in HOSTILE.items() if (name,) in rows}


async def set_for(url: str, whom: str) -> None:
    """Set all of them for whoever connects next."""
    known = await known_settings(url)
    async with await connect(url) as connection:
        (name,) = await (await connection.execute("select current_database()")).fetchall()
        for setting, value in known.items():
            await connection.execute(
                sql.SQL("alter {} set {} = {}").format(
                    sql.SQL(whom.format(database=sql.Identifier(name[0]).as_string())),
                    sql.Identifier(setting),
                    sql.SQL(value) if setting == "DateStyle" else sql.Literal(value),
                )
            )


def test_every_pinned_setting_is_tried() -> None:
    """A setting that nobody has turned against us would be pinned without a proof."""
    pinned = {**PINNED, **LIMITS}
    assert HOSTILE.keys() == pinned.keys()
    assert all(HOSTILE[name] != value for name, value in pinned.items())


@pytest.mark.parametrize("whom", ["database {database}", "role current_user in database {database}"])
async def test_what_a_database_or_role_has_set_does_not_count(database_url: str, whom: str) -> None:
    """Every kind of connection has our values."""
    await set_for(database_url, whom)
    assert await differing(database_at(database_url)) == {}


async def options(url: str) -> str:
    """The same as words of a command line."""
    return " ".join(f"-c {n}={v.replace(' ', chr(92) + ' ')}" for n, v in (await known_settings(url)).items())


async def test_what_the_url_has_set_does_not_count(database_url: str) -> None:
    """`options` of a URL are set when the session begins, before anything that we say."""
    url = f"{database_url}?options={quote(await options(database_url))}&client_encoding=LATIN1"
    assert await differing(database_at(url)) == {}


async def test_what_the_environment_has_set_does_not_count(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGOPTIONS, PGCLIENTENCODING and their like are read by the library, not by us."""
    monkeypatch.setenv("PGOPTIONS", await options(database_url))
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert await differing(database_at(database_url)) == {}


async def test_what_a_service_has_set_does_not_count(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL may name no more than a service, whose file says the rest."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    lines = [f"{name}={value}" for name, value in parts.items()]
    (tmp_path / "services").write_text("\n".join(["[shop]", *lines, f"options={await options(database_url)}"]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert await differing(database_at("postgresql://?service=shop")) == {}


async def test_a_newer_server_is_no_different(server_directory: Path) -> None:
    """It has settings that older ones do not know, such as transaction_timeout."""
    with EmbeddedPostgres(server_directory / "postgres", version=18, settings=FAST) as server:
        await set_for(server.url, "database {database}")
        assert "transaction_timeout" in await known_settings(server.url)
        assert await differing(database_at(server.url)) == {}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
async def test_text_is_exchanged_as_utf_8_whatever_the_database_has(postgres: EmbeddedPostgres, encoding: str) -> None:
    """Text that the database can hold goes in and comes out as it was."""
    text = {"SQL_ASCII": "café ✓", "LATIN1": "café", "EUC_JP": "会議"}[encoding]
    async with await connect(postgres.url) as connection:
        await connection.execute(
            sql.SQL("create database other encoding {} template template0 locale 'C'").format(sql.Literal(encoding))
        )
    async with await database_at(psycopg.conninfo.make_conninfo(postgres.url, dbname="other")).connect() as connection:
        (row,) = await (await connection.execute("select %s::text as said, length(%s::bytea)", (text, b"x"))).fetchall()
    assert row["said"] == text


async def test_a_role_that_may_not_ask_for_the_cluster_is_told_what_to_grant(postgres: EmbeddedPostgres) -> None:
    """Nothing else is wrong with it: with the statement of the message it connects."""
    async with await connect(postgres.url) as owner:
        await owner.execute("revoke execute on function pg_control_system() from public")
        await owner.execute("create role \"Worker-1\" login password 'open'")
        database = database_at(psycopg.conninfo.make_conninfo(postgres.url, user="Worker-1", password="open"))
        with pytest.raises(NotAllowed) as refused:
            await database.connect()
        await owner.execute(str(refused.value).partition("run: ")[2].encode())
    async with await database.connect() as connection:
        assert connection.cluster
