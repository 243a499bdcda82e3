"""Promise: every command of every document works as it is typed, in the order it stands in."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator

import psycopg
import pytest

from handlers.stripe.local import LocalStripe
from tests.support.cli import program
from tests.support.pages import Block, Page, page, pages
from worker.cli.status import HEADINGS

# Each of them starts dozens of processes, one after the other.
pytestmark = pytest.mark.timeout(400)
OPERATE = page("docs/operate.md")
NEGATIVE = {"doctor"}
"""What answers with 1 here, because no worker runs."""


@pytest.fixture
async def environment(database_url: str) -> AsyncIterator[dict[str, str]]:
    """That of a worker of all handlers, for a migrated database with one space."""
    async with LocalStripe() as stripe:
        given = {"HEARKEN_HANDLERS": "handlers", "STRIPE_SECRET_KEY": stripe.key, "STRIPE_API_BASE": stripe.url}
        assert (await program(database_url, "migrate", **given)).code == 0
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("insert into public.spaces (name, capacity, price_per_hour) values ('Blue', 4, 20)")
        yield given


def _typed(page: Page) -> tuple[Block, ...]:
    """The console blocks in which nothing but Hearken is called."""
    return tuple(b for b in page.all("console") if all(line.startswith("hearken ") for line in b.commands))


@pytest.mark.parametrize("blocks", [pytest.param(_typed(p), id=p.name) for p in pages() if _typed(p)])
async def test_every_command_works(blocks: tuple[Block, ...], database_url: str, environment: dict[str, str]) -> None:
    """On a database with one space, which no worker has looked at."""
    for line in (line for block in blocks for line in block.commands):
        _, *arguments = shlex.split(line)
        result = await program(database_url, *arguments, **environment)
        assert result.code == (1 if arguments[0] in NEGATIVE else 0), f"{line}: {result.err or result.out}"
        assert result.out or result.err, f"{line} says nothing"


def _symptoms() -> list[tuple[str, str]]:
    """The table of "When something is wrong": each command without `hearken`, and what to read."""
    rows = OPERATE.table("you see")
    assert len(rows) > 20
    assert all(re.fullmatch(r"`hearken [^`]+`", run) for _, run, _ in rows), "a row that names no command"
    return [(run.strip("`").removeprefix("hearken "), read) for _, run, read in rows]


async def test_every_command_for_when_something_is_wrong_answers(
    database_url: str, environment: dict[str, str]
) -> None:
    """With a handler that is paused and a trigger that is off: an answer for each, and no wrong usage."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into hearken.paused (handler, by, reason) values ('sync_space', 'me', 'why')")
        connection.execute("alter table spaces disable trigger hearken_update")
    commands = sorted({command for command, _ in _symptoms()})
    operating = {"doctor", "status", "explain", "reconcile", "backfill", "replay", "dead", "resume"}
    assert operating <= {command.split()[0] for command in commands}
    for command in commands:
        result = await program(database_url, *command.split(), **environment)
        assert result.code in (0, 1), f"hearken {command}: {result.err or result.out}"
        assert result.out + result.err, f"hearken {command} says nothing"
        assert "Traceback" not in result.err, result.err


async def test_what_to_read_is_there(database_url: str, environment: dict[str, str]) -> None:
    """Each line that the table names is one that the doctor says, each column one of `hearken status`."""
    said = (await program(database_url, "doctor", "--json", **environment)).json
    there = {
        "doctor": {finding["name"] for finding in said} | {"✓", "/readyz", "schedules"},
        "status": {*HEADINGS, "hearken.canary", "hearken.parked"},
    }
    for command, text in _symptoms():
        if command in there:
            assert set(re.findall(r"`([^`]+)`", text)) <= there[command], f"hearken {command}: {text}"


async def test_the_exit_codes_are_those(database_url: str, environment: dict[str, str]) -> None:
    """Fine, negative, and wrong usage, as the table says; an interrupted command is tested with `hearken replay`."""
    codes = {row[0] for row in OPERATE.table("exit code")}
    tried = {
        str((await program(database_url, *arguments, **environment)).code)
        for arguments in (["status"], ["resume", "sync_space"], ["resume", "nobody"])
    }
    assert codes == tried | {"130"}


async def test_the_paths_are_those_of_the_worker(database_url: str) -> None:
    """No probe is left out or made up."""
    from worker.declare.endpoint import OWN_PATHS

    assert {row[0].strip("`") for row in OPERATE.table("path")} == set(OWN_PATHS)
