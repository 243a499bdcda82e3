"""Promise: what the migrations and the default handlers' triggers create is what the committed snapshot shows.

A change of schema/ or of what is compiled shows a reviewer its effect: rewrite the snapshot, and commit both.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from tests.support.snapshot import describe
from tests.support.watched import connect
from worker.declare.registry import Registry, registry
from worker.install.migrate import migrate

SNAPSHOT = Path(__file__).with_name("schema_snapshot.sql")
REWRITE = "REWRITE_SCHEMA_SNAPSHOT"
HOW = (
    f"if this is intended, run `{REWRITE}=1 uv run pytest tests/db/test_schema_snapshot.py`, and commit what it writes"
)


def default_handlers() -> Registry:
    """What is declared in handlers/, whatever else this process has loaded."""
    registry.load(["handlers"])
    chosen = Registry()
    chosen.handlers = {n: h for n, h in registry.handlers.items() if h.function.__module__.startswith("handlers.")}
    chosen.resources = [r for r in registry.resources if r.factory.__module__.startswith("handlers.")]
    return chosen


async def snapshot(url: str) -> str:
    async with connect(url) as connection:
        await migrate(connection, default_handlers())
        return await describe(connection)


async def test_the_schema_is_that_of_the_snapshot(empty_database_url: str) -> None:
    """Tables, columns, constraints, indexes, functions, triggers and comments, line by line."""
    found = await snapshot(empty_database_url)
    if os.environ.get(REWRITE):
        SNAPSHOT.write_text(found)
    expected = SNAPSHOT.read_text()
    if found != expected:
        lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "committed", "created", lineterm="")
        pytest.fail("the schema is not that of the snapshot:\n" + "\n".join(lines) + f"\n{HOW}", pytrace=False)


async def test_a_second_migration_changes_nothing(empty_database_url: str) -> None:
    """`migrate` run again leaves every object as it is."""
    assert await snapshot(empty_database_url) == await snapshot(empty_database_url)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "alter table hearken.parked alter column reason set not null",
        "alter table hearken.events alter column note set default 'null'",
        "create index more on hearken.events (key)",
        "drop index hearken.effects_base",
        "alter table hearken.cursors drop constraint cursors_check",
        "alter sequence hearken.events_id_seq cache 2",
        "alter table spaces disable trigger hearken_insert",
        "comment on table hearken.events is 'x'",
        "alter function hearken.note() volatile",
        "alter table hearken.parked set (fillfactor = 50)",
        "alter table hearken.parked replica identity full",
        "alter table hearken.effects alter column step type varchar",
        'alter table hearken.events alter column topic type text collate "POSIX"',
    ],
)
async def test_the_snapshot_shows_every_kind_of_change(database_url: str, change: str) -> None:
    """A change that it does not show would pass a review unseen."""
    async with connect(database_url) as connection:
        await migrate(connection, default_handlers())
        before = await describe(connection)
        await connection.execute(change.encode())
        assert await describe(connection) != before
