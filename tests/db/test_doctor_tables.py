"""Promise: `hearken doctor` says of each watched table what keeps its changes from being captured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.support.doctor import Findings, examined, role_of, watched
from tests.support.served import execute, prepare
from tests.support.watched import declare

TOPIC = "public.things"
SPLIT = """
drop table things;
create table things (id integer primary key, name text) partition by range (id);
create table things_1 partition of things for values from (0) to (100)
"""
APPENDING = ("usage on schema hearken", "insert on hearken.events", "usage on sequence hearken.events_id_seq")
OWNED = """
do $$
declare
    capture regprocedure;
begin
    for capture in select oid from pg_proc where starts_with(proname, 'capture_') loop
        execute concat('alter function ', capture, ' owner to ROLE');
    end loop;
end $$
"""


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    """A database in which `things` are watched."""
    await prepare(empty_database_url, watched())
    yield empty_database_url


async def after(url: str, *statements: str) -> Findings:
    for statement in statements:
        await execute(url, statement)
    return await examined(url, watched())


async def test_a_table_that_is_captured_is_fine(url: str) -> None:
    """Nothing at all is found in a database that is as it should be."""
    findings = await after(url)
    assert findings.bad == set()
    assert findings.about(TOPIC).text == "triggers current: 4"


async def test_a_missing_trigger(url: str) -> None:
    """By its name, and with what makes it again."""
    findings = await after(url, "drop trigger hearken_delete on things")
    findings.problem(TOPIC, "trigger hearken_delete is missing", "run `hearken migrate`")
    assert findings.bad == {TOPIC}


async def test_an_outdated_trigger(url: str) -> None:
    """Whose hash is not that of what would be compiled now."""
    (await after(url, "comment on trigger hearken_update on things is 'hearken 0123'")).problem(
        TOPIC, "trigger hearken_update is outdated"
    )


@pytest.mark.parametrize(
    "altered",
    ["add column size int", "drop column name", "rename column name to title", "alter column name type varchar(9)"],
)
async def test_a_table_that_was_altered_since_its_triggers_were_compiled(url: str, altered: str) -> None:
    """Its changes are captured with care, which costs its writers more, until `migrate` runs."""
    text = (await after(url, f"alter table things {altered}")).problem(TOPIC, "run `hearken migrate`")
    assert all(f"trigger hearken_{op} is outdated" in text for op in ("insert", "update", "delete"))
    await prepare(url, watched())
    assert (await after(url)).about(TOPIC).state == "ok"


async def test_a_disabled_trigger(url: str) -> None:
    """It is there and captures nothing."""
    (await after(url, "alter table things disable trigger hearken_insert")).problem(
        TOPIC, "trigger hearken_insert is disabled, ordinary changes are not captured"
    )


async def test_a_trigger_for_replication_alone(url: str) -> None:
    """ENABLE REPLICA fires for replicated changes only, which is the wrong way round."""
    (await after(url, "alter table things enable replica trigger hearken_insert")).problem(
        TOPIC, "hearken_insert is enabled for replication only"
    )


async def test_a_trigger_that_always_fires_is_fine_and_said(url: str) -> None:
    """ENABLE ALWAYS captures what is replicated, too."""
    findings = await after(url, "alter table things enable always trigger hearken_insert")
    assert findings.bad == set()
    assert findings.about(TOPIC).text == "triggers current: 4, 1 ENABLE ALWAYS"


async def test_a_table_that_is_gone(url: str) -> None:
    """What to do; and the other tables are looked at all the same."""
    findings = await after(url, "drop table things")
    findings.problem(TOPIC, "does not exist: create it, or correct the topic")
    assert findings.about("hearken.canary").state == "ok"


async def test_a_column_that_is_gone(url: str) -> None:
    """One that a handler watches by name."""
    await execute(url, "alter table things rename column name to title")
    findings = await examined(url, watched(watch=("name",)))
    findings.problem(TOPIC, "watch= names ['name']")


async def test_a_primary_key_that_is_gone(url: str) -> None:
    """Events are keyed by it."""
    (await after(url, "alter table things drop constraint things_pkey")).problem(TOPIC, "has no primary key: add one")


async def test_a_table_that_inherits(url: str) -> None:
    """What is inserted into a child is not captured, although a select on the parent shows it."""
    (await after(url, "create table odd_things () inherits (things)")).problem(
        TOPIC, "odd_things inherits from it", "watch it too"
    )


async def test_a_partition_that_others_may_write_to(url: str) -> None:
    """A role that was granted it directly goes around the table's triggers; one that was not is fine."""
    await execute(url, SPLIT)
    await prepare(url, watched())
    assert (await examined(url, watched())).bad == set()
    (await after(url, "grant select, insert on things_1 to public")).problem(
        TOPIC, "public may write to its partition things_1 directly", "revoke insert"
    )


async def test_triggers_that_nobody_needs(url: str) -> None:
    """Of a handler that was forgotten: its table is still paid for by its writers."""
    await execute(url, "create table others (id integer primary key)")
    await prepare(url, declare("public.others", "also"))
    await execute(url, "delete from hearken.cursors where handler = 'also'")
    (await after(url)).problem("triggers", "public.others: no handler needs it, run `hearken migrate`")


@pytest.mark.parametrize("whose", ["database {database}", "role {role}", "role {role} in database {database}"])
async def test_a_session_replication_role_that_goes_around_triggers(url: str, whose: str) -> None:
    """Set for a database, a role, or both: said whose it is."""
    ((database, role),) = await execute(url, "select current_database(), 'doctors_role'")
    await execute(url, f"create role {role}")
    target = whose.format(database=database, role=role)
    try:
        findings = await after(url, f"alter {target} set session_replication_role = 'replica'")
        text = findings.problem("session_replication_role", "session_replication_role=replica", "are not captured")
        assert ("role doctors_role has" in text.replace(" in this database", "")) == ("role" in whose)
    finally:
        await execute(url, f"alter {target} reset session_replication_role")
        await execute(url, f"drop role {role}")


async def test_changes_that_are_not_in_the_log(url: str) -> None:
    """How many statements, on what, since when and why; and how to make good for them."""
    await execute(url, "insert into hearken.uncaptured (topic, op, error) values ('public.things', 'update', 'full')")
    findings = await after(url)
    findings.problem("capture", "1 statements on public.things since", "(full)", "`hearken backfill public.things`")
    assert findings.bad == {"capture"}


async def test_an_owner_of_capture_functions_who_may_not_call_what_they_call(url: str) -> None:
    """Each of them, and the statement that ends it."""
    role = f"owner_{uuid4().hex[:8]}"
    given = ("create on schema hearken", *APPENDING)
    async with role_of(url, role, *(f"grant {right} to {{}}" for right in given)):
        try:
            await execute(url, OWNED.replace("ROLE", role))
            findings = await after(url, "revoke execute on all functions in schema hearken from public")
            text = findings.problem("capture", "may not execute what they call", "hearken.note()", "hearken.key_now(")
            await execute(url, text.partition("call: ")[2])
            assert (await after(url)).about("capture").state == "ok"
            (await after(url, "drop function hearken.note()")).problem(
                "capture", "hearken.note(), not all of which are there"
            )
        finally:
            await execute(url, f"reassign owned by {role} to current_user")


@pytest.mark.parametrize("lost", APPENDING)
async def test_an_owner_of_capture_functions_who_may_not_append(url: str, lost: str) -> None:
    """Before the next change is missed."""
    role = f"owner_{uuid4().hex[:8]}"
    given = [f"grant {right} to {{}}" for right in ("create on schema hearken", *APPENDING) if right != lost]
    async with role_of(url, role, *given):
        try:
            findings = await after(url, OWNED.replace("ROLE", role))
            findings.problem("capture", f"{role} owns capture functions and may not append to the log", f"to {role}")
        finally:
            await execute(url, f"reassign owned by {role} to current_user")
