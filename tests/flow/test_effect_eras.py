"""Promise: an effect has another idempotency key where the ledger was set back and its destination was not."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.watched import declare
from worker import Change
from worker.deliver.effects import record_effect
from worker.install import migrations
from worker.install.migrate import migrate
from worker.postgres.database import Database
from worker.settings import Settings

CHANGE = Change(id=1, at=None, topic="public.rooms", op="update", key="1")  # type: ignore[arg-type]


async def key_of(url: str, *, ended: bool = True, handler: str = "price") -> str:
    """The idempotency key of one effect with always the same parameters, as a new process makes it."""
    database = Database(Settings.model_validate({"DATABASE_URL": url}))
    await database.open()
    try:
        async with record_effect(database, handler, CHANGE, "update", {"price": 10}, None) as effect:
            if ended:
                effect.done()
        return effect.idempotency_key
    finally:
        await database.close()


@pytest.fixture
async def url(database_url: str) -> str:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create table rooms (id int primary key)")
        await migrations.apply(connection, migrations.find_migrations([]))
        await migrate(connection, declare("public.rooms", "price"))
    return database_url


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the server is on another timeline. (`test_failover` promotes a real one.)"""

    async def other(connection: object) -> str:
        return "00000002"

    monkeypatch.setattr("worker.postgres.database.read_timeline", other)


async def set_back(url: str, ledger: str = "truncate hearken.effects") -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(ledger.encode())


async def test_a_write_is_made_again_after_the_ledger_was_set_back(url: str, request: pytest.FixtureRequest) -> None:
    """The destination remembers the key of a write that this ledger does not know of, and would not do it."""
    before = await key_of(url)
    await set_back(url)
    assert await key_of(url) == before
    await set_back(url)
    request.getfixturevalue("promoted")
    assert await key_of(url) != before


async def test_a_write_without_an_answer_keeps_its_key_across_a_failover(
    url: str, request: pytest.FixtureRequest
) -> None:
    """It survived in the ledger: whether it was done is what its key finds out. The next one has the new era."""
    before = await key_of(url, ended=False)
    request.getfixturevalue("promoted")
    assert await key_of(url, ended=False) == before
    assert await key_of(url) == before
    await set_back(url, "update hearken.effects set state = 'failed', ended_at = now()")
    after = await key_of(url)
    assert after.split(":")[:4] == before.split(":")[:4]
    assert after.rsplit(":", 1)[1] != before.rsplit(":", 1)[1]


async def test_a_write_without_an_answer_from_before_the_upgrade_keeps_its_key(url: str) -> None:
    """Its key had no era."""
    before = await key_of(url, ended=False)
    await set_back(url, "update hearken.effects set era = ''")
    assert await key_of(url) == before.rsplit(":", 1)[0]
