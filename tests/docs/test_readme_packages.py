"""The README's section on packages is as the code is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handlers.packages.result import SyncOptions
from schema.packages.row import Customer, Package
from tests.support.cli import hearken
from tests.support.packages import PACKAGE, Club, open_club, own_registry
from worker.dev.embedded import EmbeddedPostgres

TEXT = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = TEXT[TEXT.index("## Packages and the CRM") : TEXT.index("## Operate")]


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


def test_the_crm_has_to_have_what_is_read_of_it() -> None:
    """No column is left out or made up."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (`id`.*?) \|$", SECTION, re.MULTILINE))
    columns = {table: re.findall(r"`(\w+)`", of) for table, of in rows.items()}
    assert columns == {"customers": list(Customer.model_fields), "packages": list(Package.model_fields)}


def test_the_endpoints_are_those() -> None:
    """Their paths, and the body of a bulk sync, with its defaults."""
    paths = re.findall(r"^\| `(/\S+)` \|", SECTION, re.MULTILINE)
    assert paths == [h.endpoint.path for h in own_registry().handlers.values() if h.endpoint]
    (body,) = re.findall(r"`(\{\"batchSize.*?\})`", SECTION)
    assert json.loads(body) == SyncOptions().model_dump(by_alias=True)


async def test_a_person_decides(club: Club) -> None:
    """The statement stores a mapping where there was an ambiguous attempt, or none at all."""
    (statement,) = re.findall(r"`(insert into crm_customer_mapping.*?)`", SECTION, re.DOTALL)
    ambiguous = await club.profile(phone_number="0812345678")
    fresh = await club.profile(name="Fresh")
    await club.crm.execute("insert into customers (id, phone) values (90, '0812345678'), (91, '0812345678')")
    assert (await club.map(ambiguous)).customer_id is None
    for profile in (ambiguous, fresh):
        await club.execute(statement.replace("…", "%s"), profile)
        assert (await club.map(profile)).customer_id == "42"


async def test_the_commands_are_those(club: Club) -> None:
    """Each that the section names is there."""
    named = set(re.findall(r"`hearken packages ([\w-]+)", SECTION))
    told = await hearken(club.url, "packages", "--help", HEARKEN_HANDLERS=PACKAGE)
    assert named == {"match", "sync", "cron-sql"}
    assert all(re.search(rf"^  {name} ", told.out, re.MULTILINE) for name in named)
