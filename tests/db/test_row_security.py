"""Promise 12, absence is never taken as fact: what a policy or a view hides is an error, never a deleted row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.support.doctor import examined
from tests.support.watched import connect, declare
from worker import Change, Context
from worker.capture.catalog import Table, read_table
from worker.declare.registry import Registry
from worker.deliver.brake import _rows
from worker.deliver.context import Services
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import RowsHidden, WatchError
from worker.install.row_security import require_every_row
from worker.log.snapshots import Recipients, append_snapshots
from worker.operate.row_now import read_row_now
from worker.operate.where import check_condition
from worker.postgres.database import Connection, Database
from worker.settings import Settings
from worker.testing import bench

TABLES = """
create role shop_owner login password 'open';
create role shop_worker login password 'open';
grant create on database hearken to shop_owner;
grant create, usage on schema public to shop_owner;
set role shop_owner;
create table rooms (id int primary key, name text);
create table halls (id int primary key, name text) partition by list (id);
create table halls_1 partition of halls default;
create view lobby as select * from rooms;
create view gallery as select * from lobby;
insert into rooms values (1, 'blue');
reset role;
grant select, update on all tables in schema public to shop_worker;
"""
HIDE = "alter table {0} enable row level security; create policy a_few on {0} using (current_user = 'nobody')"
FORCE = "alter table {0} force row level security"


def as_role(server: EmbeddedPostgres, role: str) -> str:
    return psycopg.conninfo.make_conninfo(server.url, user=role, password="open")


@asynccontextmanager
async def shop(server: EmbeddedPostgres) -> AsyncIterator[AsyncConnection[Any]]:
    """Tables of an owner's, and a worker's role of few rights; yields an administrator's connection."""
    async with connect(server.url) as admin:
        await admin.execute(TABLES)
        yield admin


@asynccontextmanager
async def seen_as(server: EmbeddedPostgres, role: str = "shop_worker") -> AsyncIterator[Connection]:
    """A connection of a worker with this role."""
    async with await Database(Settings.model_validate({"DATABASE_URL": as_role(server, role)})).connect() as connection:
        yield connection


def reading(relation: str) -> Registry:
    declared = Registry()
    if relation in ("public.rooms", "public.halls"):
        return declare(relation, into=declared)
    declared.reads(relation)
    return declared


CIRCUMSTANCES: dict[str, tuple[str, str, list[str], str | None]] = {
    "a policy on a watched table": ("public.rooms", "shop_worker", [HIDE.format("rooms")], "public.rooms"),
    "row security without any policy": (
        "public.rooms",
        "shop_worker",
        ["alter table rooms enable row level security"],
        "public.rooms",
    ),
    "a policy on a partitioned table": ("public.halls", "shop_worker", [HIDE.format("halls")], "public.halls"),
    "a policy that shows all": (
        "public.rooms",
        "shop_worker",
        ["alter table rooms enable row level security", "create policy every on rooms using (true)"],
        "public.rooms",
    ),
    "the owner, forced": ("public.rooms", "shop_owner", [HIDE.format("rooms"), FORCE.format("rooms")], "public.rooms"),
    "a view of a forced owner's": (
        "public.lobby",
        "shop_worker",
        [HIDE.format("rooms"), FORCE.format("rooms")],
        "public.rooms",
    ),
    "a view over a view": (
        "public.gallery",
        "shop_worker",
        [HIDE.format("rooms"), FORCE.format("rooms")],
        "public.rooms",
    ),
    "a view with its reader's rights": (
        "public.lobby",
        "shop_worker",
        [HIDE.format("rooms"), "alter view lobby set (security_invoker = on)"],
        "public.rooms",
    ),
    "the owner": ("public.rooms", "shop_owner", [HIDE.format("rooms")], None),
    "a view of the owner's": ("public.lobby", "shop_worker", [HIDE.format("rooms")], None),
    "a role that goes around policies": (
        "public.rooms",
        "shop_worker",
        [HIDE.format("rooms"), "alter role shop_worker bypassrls"],
        None,
    ),
    "a member of the owner": (
        "public.rooms",
        "shop_worker",
        [HIDE.format("rooms"), "grant shop_owner to shop_worker"],
        None,
    ),
    "another table": ("public.halls", "shop_worker", [HIDE.format("rooms")], None),
}


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
async def test_what_could_hide_rows_is_known_before_the_first_delivery(
    postgres: EmbeddedPostgres, circumstance: str
) -> None:
    """What is said names the table; and it is what the server then does, no more and no less."""
    relation, role, statements, named = CIRCUMSTANCES[circumstance]
    async with shop(postgres) as admin:
        for statement in statements:
            await admin.execute(statement.encode())
        async with seen_as(postgres, role) as connection:
            query = f"select count(*) from {relation}".encode()
            if named is None:
                await require_every_row(connection, reading(relation))
                await connection.execute(query)
                return
            with pytest.raises(RowsHidden, match=f"hide rows of {named} from role shop_"):
                await require_every_row(connection, reading(relation))
            with pytest.raises(RowsHidden):
                await connection.execute(query)


@pytest.mark.parametrize("role", ["shop_worker", "shop_owner"])
@pytest.mark.parametrize("which", [0, 1])
async def test_each_statement_of_the_message_ends_it(postgres: EmbeddedPostgres, role: str, which: int) -> None:
    """What a superuser can do, and what the owner can."""
    async with shop(postgres) as admin:
        await admin.execute(HIDE.format("rooms").encode())
        if role == "shop_owner":
            await admin.execute(FORCE.format("rooms").encode())
        async with seen_as(postgres, role) as connection:
            with pytest.raises(RowsHidden) as hidden:
                await require_every_row(connection, reading("public.rooms"))
            said = str(hidden.value).split("run: ")[which + 1]
            await admin.execute(said.partition("; or,")[0].partition(" (a policy")[0].encode())
        async with seen_as(postgres, role) as connection:
            await require_every_row(connection, reading("public.rooms"))
            assert len(await (await connection.execute("select * from rooms")).fetchall()) == 1


async def test_the_doctor_says_it_and_a_log_with_policies_too(postgres: EmbeddedPostgres) -> None:
    """Whoever enables row security on every table of a database does not stop at ours."""
    async with bench(postgres.url):
        pass
    async with shop(postgres) as admin:
        await admin.execute("grant usage on schema hearken to shop_worker")
        await admin.execute("grant select on hearken.cursors to shop_worker")
        await admin.execute("alter table hearken.cursors enable row level security")
        findings = await examined(as_role(postgres, "shop_worker"), reading("public.rooms"))
    findings.problem("row security", "hearken.cursors", 'alter role "shop_worker" bypassrls')


def change(key: str = "1") -> Change:
    return Change(id=1, at=datetime.now(UTC), topic="public.rooms", op="snapshot", key=key)


async def row_of_context(connection: Connection, table: Table) -> object:
    return await Context("h", Services(_NONE, tables={table.topic: table}), transaction=connection).row(change())


async def gone_of_snapshots(connection: Connection, table: Table) -> object:
    return (await append_snapshots(connection, table, ["1"], Recipients(["h"], {}, frozenset()))).gone


_NONE: Any = None
READERS: dict[str, Callable[[Connection, Table], Awaitable[object]]] = {
    "ctx.row": row_of_context,
    "explain": lambda connection, table: read_row_now(connection, table.topic, "1", []),
    "the brake": lambda connection, table: _rows(connection, table.topic, 100),
    "backfill": lambda connection, table: check_condition(connection, table, None),
    "reconcile": gone_of_snapshots,
}


@pytest.mark.parametrize("reader", READERS)
async def test_nobody_takes_a_hidden_row_for_a_deleted_one(postgres: EmbeddedPostgres, reader: str) -> None:
    """A policy that comes while a worker runs: all who ask for rows are refused, with what to do."""
    async with bench(postgres.url):
        pass
    async with shop(postgres) as admin:
        await admin.execute("grant usage on schema hearken to shop_worker")
        await admin.execute("grant all on all tables in schema hearken to shop_worker")
        await admin.execute("grant all on all sequences in schema hearken to shop_worker")
        async with seen_as(postgres) as connection:
            table = await read_table(connection, "public.rooms")
            assert await READERS[reader](connection, table) is not None
            await admin.execute(HIDE.format("rooms").encode())
            with pytest.raises(RowsHidden, match="bypassrls"):
                await READERS[reader](connection, table)


async def test_a_handler_whose_rows_are_hidden_waits_for_a_person(postgres: EmbeddedPostgres) -> None:
    """No attempt is used, nothing is dead, the reason says what to do; once that is done, it goes on by itself."""
    seen: list[object] = []

    async def follow(change: Change, ctx: Context) -> None:
        seen.append(await ctx.row(change))

    async with shop(postgres) as admin:
        declared = declare("public.rooms", "follow", call=follow, attempts=1)
        async with bench(
            as_role(postgres, "shop_owner"), declared.handlers["follow"].function, declared=declared
        ) as rooms:
            await admin.execute(f"{HIDE.format('rooms')}; {FORCE.format('rooms')}".encode())
            await admin.execute("update rooms set name = 'red'")
            await rooms.drain()
            (parked,) = await rooms.parked()
            assert (parked["state"], parked["attempt"], seen) == ("due", 0, [])
            assert "row-level security" in parked["reason"]
            assert "bypassrls" in parked["reason"]
            assert rooms.consumers[0].circuit.open
            await admin.execute("alter role shop_owner bypassrls")
            rooms.consumers[0].circuit.succeeded()
            await admin.execute("update hearken.parked set due_at = now()")
            await rooms.drain()
            assert seen == [{"id": 1, "name": "red"}]
            assert await rooms.parked() == []


INSTEAD = {
    "a view that leaves rows out": "alter table rooms rename to base; create view rooms as select * from base limit 0",
    "nothing": "alter table rooms rename to base",
    "a column less to see": "revoke select on rooms from shop_worker; grant select (id) on rooms to shop_worker",
    "a schema out of reach": "revoke usage on schema public from public, shop_worker",
}


@pytest.mark.parametrize("instead", INSTEAD)
async def test_a_row_behind_something_else_is_not_gone(postgres: EmbeddedPostgres, instead: str) -> None:
    """What stands in a table's place, or keeps us from it, is an error; a row that is not there is still None."""
    async with shop(postgres) as admin, seen_as(postgres) as connection:
        table = await read_table(connection, "public.rooms")
        await admin.execute("delete from rooms where id = 1")
        assert await row_of_context(connection, table) is None
        await admin.execute(INSTEAD[instead].encode())
        if "view" in INSTEAD[instead]:
            await admin.execute("grant select on rooms to shop_worker")
        with pytest.raises((psycopg.ProgrammingError, WatchError)):
            await row_of_context(connection, table)
