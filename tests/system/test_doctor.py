"""Promise: `hearken doctor` is one line per finding, exits with 1 unless all is fine, and looks at whatever it can."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from handlers.stripe.local import LocalStripe
from tests.support.cli import ROOT, SAMPLE, Rooms, hearken, program
from tests.support.doctor import Findings, examined
from tests.support.served import execute
from tests.support.workers import start_worker
from worker.declare.registry import Registry, registry
from worker.dev.ports import free_port

BELONGS = "select account, mode from hearken.stripe_account"


@pytest.fixture
async def healthy(rooms: Rooms) -> Rooms:
    """A database in which everything is as it should be."""
    assert (await hearken(rooms.url, "migrate")).code == 0
    return rooms


async def test_everything_is_fine(healthy: Rooms) -> None:
    """Exit code 0; a line with a tick for each finding; the same as JSON, and nothing on standard error."""
    said, as_json = await hearken(healthy.url, "doctor"), await hearken(healthy.url, "doctor", "--json")
    assert (said.code, said.err, as_json.code, as_json.err) == (0, "", 0, ""), said
    lines = said.out.splitlines()
    assert all(line.startswith("✓ ") for line in lines)
    assert len(lines) == len(as_json.json) > 15
    assert {finding["state"] for finding in as_json.json} == {"ok"}
    names = [finding["name"] for finding in as_json.json]
    assert {"code", "settings", "database", "public.rooms", "handler note_room", "transactions"} <= set(names)


async def test_a_problem_is_said_and_makes_the_exit_code_1(healthy: Rooms) -> None:
    """Beside everything that is fine, in the same order."""
    await healthy.execute("alter table rooms disable trigger hearken_insert")
    said, as_json = await hearken(healthy.url, "doctor"), await hearken(healthy.url, "doctor", "--json")
    assert (said.code, as_json.code) == (1, 1)
    (line,) = [line for line in said.out.splitlines() if not line.startswith("✓ ")]
    assert line.startswith("✗ public.rooms: trigger hearken_insert is disabled")
    assert [f["name"] for f in as_json.json if f["state"] == "problem"] == ["public.rooms"]


async def test_it_works_under_a_running_worker_and_changes_nothing(healthy: Rooms) -> None:
    """The worker is counted; what the doctor has listened to or set is gone with it."""
    async with start_worker(healthy.url, [SAMPLE]) as running:
        await running.said("working")
        said = await hearken(healthy.url, "doctor")
        assert said.code == 0, said
        assert "✓ connections: workers: 1, up to 14 connections" in said.out
        assert running.alive
    assert await healthy.value("select count(*) from hearken.events") == 0


async def test_a_database_that_cannot_be_reached() -> None:
    """One line about it, one about what is not known because of it, and no traceback."""
    url = f"postgresql://hearken@127.0.0.1:{free_port()}/hearken"
    said = await hearken(url, "doctor")
    assert (said.code, said.err) == (1, "")
    marks = {line[2:].split(":")[0]: line[0] for line in said.out.splitlines()}
    assert marks == {"code": "✓", "settings": "✓", "database": "✗", "not looked at": "?"}


async def test_settings_that_are_wrong_are_named_at_once(healthy: Rooms) -> None:
    """A line for each; the rest is looked at with the defaults, and no value is shown."""
    wrong = {"HEARKEN_BATCHES": "hunter2", "HEARKEN_BATCHS": "4", "HEARKEN_RETENTION_DAYS": "-1"}
    said = await program(healthy.url, "doctor", **wrong)
    assert said.code == 1
    problems = [line for line in said.out.splitlines() if not line.startswith("✓ ")]
    assert [line.split(":")[1].strip() for line in problems] == sorted(wrong)
    assert all(line.startswith("✗ settings: HEARKEN_") for line in problems)
    assert "hunter2" not in said.out
    assert "✓ public.rooms: " in said.out


async def test_without_a_database_url_the_rest_is_looked_at() -> None:
    """Both that it is missing, and that the database is not looked at because of that."""
    said = await program(None, "doctor")
    assert (said.code, said.err) == (1, "")
    assert "✗ settings: DATABASE_URL: is not set" in said.out
    assert "✗ database: not looked at: DATABASE_URL is missing or wrong" in said.out


async def test_handlers_that_cannot_be_imported(healthy: Rooms, tmp_path: Path) -> None:
    """Why; nothing that is in the tables is called superfluous because of it, and the server is looked at."""
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    said = await program(healthy.url, "doctor", HEARKEN_HANDLERS="broken", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert said.code == 1
    assert "✗ code: HEARKEN_HANDLERS cannot be imported: ModuleNotFoundError" in said.out
    assert "? handlers: not looked at: what is declared is not known" in said.out
    assert "forget" not in said.out
    assert "✓ notifications: " in said.out
    unknown = await program(healthy.url, "doctor", HEARKEN_HANDLERS="nowhere")
    assert "✗ code: HEARKEN_HANDLERS: no module named 'nowhere' on the path" in unknown.out


async def of_stripe(url: str | None, key: str, base: str) -> Findings:
    """What is found by the declarations of handlers/."""
    return await examined(url, _handlers, STRIPE_SECRET_KEY=key, STRIPE_API_BASE=base)


def _handlers() -> Registry:
    """What is declared in handlers/, whatever else this process has loaded."""
    registry.load(["handlers"])
    chosen = Registry(engine=registry.engine.values())
    chosen.handlers = {n: h for n, h in registry.handlers.items() if h.function.__module__.startswith("handlers.")}
    chosen.resources, chosen.diagnoses = registry.resources, registry.diagnoses
    return chosen


async def test_whose_key_of_stripe_it_is(database_url: str) -> None:
    """Account, mode and API version; asking does not make the database that account's."""
    async with LocalStripe() as server:
        text = (await of_stripe(database_url, server.key, server.url)).about("stripe").text
        assert text.startswith("key of acct_")
        assert "(test mode), API version 20" in text
        assert text.endswith("; the database belongs to no account yet")
        assert await execute(database_url, BELONGS) == []
        account = text.split()[2]
        await execute(database_url, "insert into hearken.stripe_account (account, mode) values (%s, 'test')", account)
        assert (await of_stripe(database_url, server.key, server.url)).about("stripe").text.endswith("belongs to it")


async def test_a_key_of_another_stripe_account(database_url: str) -> None:
    """Both accounts are named, and nothing is written."""
    await execute(database_url, "insert into hearken.stripe_account (account, mode) values ('acct_theirs', 'live')")
    async with LocalStripe() as server:
        findings = await of_stripe(database_url, server.key, server.url)
    findings.problem("stripe", "the database belongs to acct_theirs (live mode)", "set a key of that one")
    assert await execute(database_url, BELONGS) == [("acct_theirs", "live")]


async def test_a_key_that_stripe_refuses(database_url: str) -> None:
    """Stripe's reason, and not the key."""
    async with LocalStripe() as server:
        findings = await of_stripe(database_url, "sk_test_revoked0123456789", server.url)
    assert "sk_test_revoked0123456789" not in findings.problem("stripe")


async def test_without_a_key_stripe_is_not_looked_at(database_url: str) -> None:
    """It is said, and everything else is looked at."""
    findings = await examined(database_url, _handlers)
    findings.problem("settings", "STRIPE_SECRET_KEY: is not set")
    findings.unknown("stripe", "not looked at, because its settings are missing or wrong")
    assert findings.about("database").state == "ok"


async def test_stripe_is_looked_at_while_the_database_is_away(database_url: str) -> None:
    """It has nothing to do with it."""
    parts = urlsplit(database_url)
    away = parts._replace(netloc=f"{parts.username}@127.0.0.1:{free_port()}").geturl()
    async with LocalStripe() as server:
        for url in (away, None):
            findings = await of_stripe(url, server.key, server.url)
            assert findings.about("stripe").text.endswith("the database cannot be asked whose it is")
            findings.problem("database")
