"""Promise: the host comes first. Whatever of ours is taken from the capture functions, the application's writes pass.

Each object that a compiled trigger touches is revoked, dropped and renamed in turn. The objects are found in the
triggers themselves and in what those call, so that one that is new is tried too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import LiteralString, NamedTuple

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from tests.support.watched import Watched, connect, watching

WRITES = (
    "insert into rooms values (2, 2), (3, 3)",
    "update rooms set v = 3",
    "update rooms set v = 4 where id = 2",
    "delete from rooms where id = 3",
    "delete from rooms",
    "insert into rooms values (4, 4)",
    "truncate rooms",
)
# Two rows, of which one has the value of the first update; and the truncate is one.
EVENTS = 8
CAPTURES = "select oid::regprocedure::text as name, prosrc from pg_proc where proname ~ '^capture_'"
# With what they call in turn.
FUNCTIONS = """
with recursive called as (
    select p.oid, p.prosrc from pg_proc p where p.proname ~ '^capture_'
    union
    select p.oid, p.prosrc from called c join pg_proc p on c.prosrc ~ ('hearken\\.' || p.proname || '\\s*\\(')
    where p.pronamespace = 'hearken'::regnamespace)
select c.oid::regprocedure::text as name from called c join pg_proc p using (oid) where p.proname !~ '^capture_'
"""
# Of the system's functions those that somebody may keep from others. Who may not format() has no application.
BELL = (
    "pg_notify(text,text)",
    "pg_notification_queue_usage()",
    "pg_try_advisory_lock(bigint)",
    "pg_advisory_unlock(bigint)",
)
RELATIONS = """
select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass::text as name
from pg_class c where c.relnamespace = 'hearken'::regnamespace and (
    c.relname = any(%s) or c.relkind = 'S' and c.relname ~ '^events'
    or c.oid in (select inhrelid from pg_inherits where inhparent = 'hearken.events'::regclass))
"""


class Harm(NamedTuple):
    """A statement that takes something away from the trigger."""

    statement: str
    how: str


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[tuple[Watched, str]]:
    """Rooms whose triggers belong to a role that is no superuser."""
    owner = f"owner_{database_url.rsplit('/', 1)[1]}"
    async with watching(database_url, "create table rooms (id int primary key, v int)", "public.rooms") as watched:
        give = sql.SQL("""create role {0}; grant usage, create on schema hearken to {0};
            grant insert, select on hearken.events, hearken.uncaptured to {0};
            grant usage on sequence hearken.events_id_seq to {0}""").format(sql.Identifier(owner))
        await watched.connection.execute(give)
        for row in await watched.rows(CAPTURES):
            await watched.execute(f"alter function {row['name']} owner to {owner}")
        yield watched, owner
        await watched.execute(f"reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}")


async def harms(rooms: Watched, owner: str) -> list[Harm]:
    """Everything that can be taken away from the triggers."""
    found = [
        Harm(f"revoke all on schema hearken from public, {owner}", "revoke"),
        Harm("alter schema hearken rename to hearken_away", "rename"),
    ]
    bodies = " ".join(row["prosrc"] for row in await rooms.rows(CAPTURES))
    named = sorted(set(re.findall(r"\bhearken\.(\w+)", bodies)))
    things = [(row["kind"], row["name"]) for row in await rooms.rows(RELATIONS, (named,))]
    things += [("function", row["name"]) for row in await rooms.rows(FUNCTIONS)]
    found += [Harm(f"revoke execute on function {name} from public", "revoke") for name in BELL]
    for kind, name in things:
        found += [
            Harm(f"revoke all on {kind} {name} from public, {owner}", "revoke"),
            Harm(f"drop {kind} {name} cascade", "drop"),
            Harm(f"alter {kind} {name} rename to gone", "rename"),
        ]
    return found


class Trial:
    """What the writes of a session did under each harm, which is rolled back."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._rooms = Watched(connection)
        self._warnings: list[str] = []
        connection.add_notice_handler(lambda notice: self._warnings.append(notice.message_primary or ""))

    async def plan(self) -> None:
        """Write once, so that the session's plans are made."""
        await self._rooms.execute("insert into rooms values (1, 1)", "update rooms set v = 2", "delete from rooms")

    async def fails(self, harm: Harm, note: LiteralString) -> str | None:
        """How the writes were hurt, or how their loss went unseen; None when all is well."""
        self._warnings.clear()
        try:
            async with self._rooms.connection.transaction(force_rollback=True):
                await self._rooms.execute(f"set local hearken.note = '{note}'", harm.statement, *WRITES)
                if not self._warnings and "uncaptured" not in harm.statement and "schema" not in harm.statement:
                    return await self._loss()
        except psycopg.Error as error:
            return str(error).splitlines()[0]
        return None

    async def _loss(self) -> str | None:
        """With no warning every change must be in the log."""
        (log,) = await self._rooms.rows("select to_regclass('hearken.events') is not null as there")
        if not log["there"]:
            return "no log, and no warning"
        (told,) = await self._rooms.rows("select count(*) from hearken.events where tx = pg_current_xact_id()")
        return None if told["count"] == EVENTS else f"{told['count']} events of {EVENTS}, and no warning"


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "new"])
@pytest.mark.parametrize("note", ["", '{"by": "anna"}'], ids=["plain", "noted"])
async def test_whatever_is_taken_from_a_trigger_its_writes_pass(
    rooms: tuple[Watched, str], database_url: str, note: LiteralString, planned: bool
) -> None:
    """From a session whose plans are made, and from a new one; and what the log lacks then is told."""
    watched, owner = rooms
    tried = await harms(watched, owner)
    assert {"hearken.note()", "hearken.fits(text,text)", "hearken.shape(oid)", "hearken.events"} <= {
        harm.statement.split(" from ")[0].split(" ")[-1] for harm in tried if harm.how == "revoke"
    }
    hurt = []
    for harm in tried:
        async with connect(database_url) as connection:
            trial = Trial(connection)
            if planned:
                await trial.plan()
            if why := await trial.fails(harm, note):
                hurt.append(f"{harm.statement}: {why}")
    assert not hurt, "\n".join(hurt)


async def test_a_note_that_cannot_be_had_is_left_out(rooms: tuple[Watched, str]) -> None:
    """The change is told without it."""
    watched, owner = rooms
    await watched.execute(f"revoke all on function hearken.note() from public, {owner}", "set hearken.note = 'x'")
    assert [event.op for event in await watched.captured("insert into rooms values (1, 1)")] == ["insert"]
