"""Promise: which capture triggers are missing, outdated, disabled or left over is known, and `migrate` mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.watched import Watched, connect, declare, watching
from worker.capture.install import trigger_status
from worker.declare.registry import Registry
from worker.errors import DeclarationError, MigrationError, WatchError
from worker.install.migrate import find_pending

OPS = ("insert", "update", "delete", "truncate")


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Watched]:
    """Rooms, watched by one handler, with everything current."""
    table = "create table rooms (id int primary key, name text, price int, secret text)"
    async with watching(database_url, table, "public.rooms", watch=("name",)) as watched:
        yield watched


async def states(rooms: Watched, declared: Registry) -> dict[str, str]:
    """How the trigger of each operation stands; those that are current left out."""
    found = await trigger_status(rooms.connection, declared.handlers.values())
    return {s.name.removeprefix("hearken_"): s.state for s in found if s.state != "current"}


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        ("drop trigger hearken_insert on rooms", {"insert": "missing"}),
        ("alter table rooms disable trigger hearken_update", {"update": "disabled"}),
        ("alter table rooms disable trigger user", dict.fromkeys(OPS, "disabled")),
        ("alter table rooms enable replica trigger hearken_delete", {"delete": "disabled"}),
        ("alter table rooms enable always trigger hearken_delete", {}),
        ("comment on trigger hearken_delete on rooms is null", {"delete": "outdated"}),
        ("comment on trigger hearken_delete on rooms is 'hearken 0123456789abcdef'", {"delete": "outdated"}),
        ("alter table rooms add column size int", dict.fromkeys(OPS[:3], "outdated")),
        ("alter table rooms drop column price", dict.fromkeys(OPS[:3], "outdated")),
        ("alter table rooms alter column price type bigint", dict.fromkeys(OPS[:3], "outdated")),
        ("drop table rooms; create table rooms (id int primary key, name text)", dict.fromkeys(OPS, "missing")),
    ],
)
async def test_what_is_wrong_is_found_and_mended(rooms: Watched, harm: str, expected: dict[str, str]) -> None:
    """Whatever was done to the table or its triggers: the state says it, one `migrate` later all is captured."""
    declared = declare("public.rooms", watch=("name",))
    await rooms.execute(harm)
    assert await states(rooms, declared) == expected
    assert {str(t).split()[1].removeprefix("hearken_") for t in (await rooms.migrate(declared)).triggers} == {*expected}
    assert await states(rooms, declared) == {}
    assert not await find_pending(rooms.connection, declared)
    events = await rooms.captured(
        "insert into rooms (id) values (1)", "update rooms set name = 'x'", "delete from rooms", "truncate rooms"
    )
    assert [event.op for event in events] == [*OPS]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"watch": ("name", "price")}, {"update": "outdated"}),
        ({}, {"update": "outdated"}),
        ({"watch": ("name",), "exclude": ("secret",)}, dict.fromkeys(OPS[:3], "outdated")),
        ({"watch": ("name",), "ops": ("insert", "update")}, {"delete": "orphan", "truncate": "orphan"}),
        ({"watch": ("name",), "concurrency": 3, "timeout": 5.0, "attempts": 2, "fold": True}, {}),
    ],
)
async def test_a_declaration_that_changes_the_capture_is_pending(
    rooms: Watched, options: dict[str, Any], expected: dict[str, str]
) -> None:
    """What is watched, excluded and asked for is in the hash; how events are delivered is not."""
    declared = declare("public.rooms", **options)
    assert await states(rooms, declared) == expected
    await rooms.migrate(declared)
    assert await states(rooms, declared) == {}


async def test_two_handlers_of_a_table_share_its_triggers(rooms: Watched) -> None:
    """Together they watch what either watches, and ask for what either asks for."""
    declared = declare("public.rooms", watch=("name",), ops=("insert", "update"))
    declare("public.rooms", "other", declared, watch=("price",), ops=("update", "delete"))
    await rooms.migrate(declared)
    events = await rooms.captured(
        "insert into rooms (id) values (1)",
        "update rooms set name = 'x'",
        "update rooms set price = 2",
        "update rooms set secret = 'y'",
        "delete from rooms",
        "truncate rooms",
    )
    assert [(e.op, e.old) for e in events[:3]] == [
        ("insert", None),
        ("update", {"name": None}),
        ("update", {"price": None}),
    ]
    assert [e.op for e in events[3:]] == ["delete"]


async def test_triggers_stay_while_a_handler_that_is_gone_may_come_back(rooms: Watched) -> None:
    """Another program may still declare it: its events are captured until it is forgotten."""
    await rooms.execute("create table plans (id int primary key)")
    declared = declare("public.plans", "planner")
    found = await trigger_status(rooms.connection, declared.handlers.values())
    assert {(t.topic, t.state) for t in found} == {("public.plans", "missing"), ("public.rooms", "orphan")}
    assert [t.topic for t in (await rooms.migrate(declared)).triggers] == ["public.plans"] * 4
    assert [e.op for e in await rooms.captured("insert into rooms (id) values (1)")] == ["insert"]
    assert not await find_pending(rooms.connection, declared)
    await rooms.execute("delete from hearken.cursors where handler = 'hear'")
    assert [(t.topic, t.state) for t in (await rooms.migrate(declared)).triggers] == [("public.rooms", "orphan")] * 4
    assert await rooms.captured("insert into rooms (id) values (2)") == []


async def test_a_handler_may_move_to_another_table(rooms: Watched) -> None:
    """The triggers of the old one go with its topic, in one `migrate`."""
    await rooms.execute("create table plans (id int primary key)")
    declared = declare("public.plans")
    await rooms.migrate(declared)
    assert not await find_pending(rooms.connection, declared)
    events = await rooms.captured("insert into rooms (id) values (1)", "insert into plans values (1)")
    assert [(e.op, e.new) for e in events] == [("insert", {"id": 1})]


async def test_a_table_in_use_is_not_waited_for_long(
    rooms: Watched, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers queue behind DDL that waits: it gives up soon (here: at once), and says who held the table."""
    monkeypatch.setattr("worker.install.migrate.LOCK_TIMEOUT", "set local lock_timeout = '50ms'")
    declared = declare("public.rooms", watch=("price",))
    async with connect(database_url) as holder:
        await holder.execute("set application_name = 'the holder'")
        await holder.execute("begin")
        await holder.execute("insert into rooms (id) values (1)")
        with pytest.raises(MigrationError, match=r"hearken_update on public\.rooms: .*held by pid \d+ \(the holder\)"):
            await rooms.migrate(declared)
        assert (await states(rooms, declared)) == {"update": "outdated"}
        await holder.commit()
    await rooms.migrate(declared)


async def test_a_role_that_does_not_own_the_table_is_told(rooms: Watched) -> None:
    """The message names the trigger, and what the role would have to be."""
    await rooms.execute(
        "drop trigger hearken_insert on rooms",
        "create role stranger; grant all on schema hearken to stranger; do"
        " $$ begin execute format('grant create on database %I to stranger', current_database()); end $$;"
        " grant all on all tables in schema hearken to stranger",
        "set role stranger",
    )
    try:
        with pytest.raises(MigrationError, match=r"hearken_insert on public\.rooms: missing.*must own the table"):
            await rooms.migrate(declare("public.rooms", watch=("name",)))
    finally:
        await rooms.execute("reset role", "drop owned by stranger; drop role stranger")


@pytest.mark.parametrize(
    ("topic", "options", "error", "message"),
    [
        ("public.nowhere", {}, WatchError, r"table public\.nowhere does not exist: create it, or correct the topic"),
        ("public.Rooms", {}, WatchError, r"table public\.Rooms does not exist"),
        ("public.keyless", {}, WatchError, r"table public\.keyless has no primary key: add one \(ALTER TABLE"),
        ("public.seen", {}, WatchError, r"public\.seen is not a table \(a view"),
        ("public.stored", {}, WatchError, r"public\.stored is not a table \(a view"),
        ("public.numbers", {}, WatchError, r"public\.numbers is not a table"),
        (
            "public.rooms",
            {"watch": ("colour",)},
            DeclarationError,
            r"watch= names \['colour'\], but table public\.rooms has",
        ),
        (
            "public.rooms",
            {"exclude": ("ID",)},
            DeclarationError,
            r"exclude= names \['ID'\], but table public\.rooms has",
        ),
        ("public.rooms", {"exclude": ("id",)}, DeclarationError, r"\['id'\] of public\.rooms are its primary key"),
    ],
)
async def test_what_cannot_be_watched_is_refused(
    rooms: Watched, topic: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message names the table and what is wrong with it; nothing is created."""
    await rooms.execute(
        "create table keyless (id int)",
        "create view seen as select * from rooms",
        "create materialized view stored as select * from rooms",
        "create sequence numbers",
    )
    with pytest.raises(error, match=message):
        await rooms.migrate(declare(topic, "other", declare("public.rooms", watch=("name",)), **options))
    assert await rooms.rows("select handler from hearken.cursors") == [{"handler": "hear"}]


async def test_one_handler_cannot_watch_what_another_excludes(rooms: Watched) -> None:
    """The log is shared: what must not be in it is in it for nobody."""
    declared = declare("public.rooms", watch=("secret",))
    declare("public.rooms", "other", declared, exclude=("secret",))
    with pytest.raises(
        DeclarationError, match=r"\['secret'\] of public\.rooms are watched by one handler and excluded"
    ):
        await rooms.migrate(declared)
