"""The page of packages is as the code is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from handlers.packages.result import SyncOptions
from schema.packages.row import Customer, Package
from tests.support.cli import hearken
from tests.support.packages import PACKAGE, Club, open_club, own_registry
from tests.support.pages import Block, page, runs
from worker.dev.embedded import EmbeddedPostgres

PAGE = page("handlers/packages/README.md")


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


def test_the_crm_has_to_have_what_is_read_of_it() -> None:
    """No column is left out or made up."""
    columns = {table.strip("`"): re.findall(r"`(\w+)`", of) for table, of in PAGE.table("of the CRM")}
    assert columns == {"customers": list(Customer.model_fields), "packages": list(Package.model_fields)}


def test_the_endpoints_are_those() -> None:
    """Their paths, and the body of a bulk sync, with its defaults."""
    paths = [row[0].strip("`") for row in PAGE.table("path")]
    assert paths == [h.endpoint.path for h in own_registry().handlers.values() if h.endpoint]
    (body,) = re.findall(r"`(\{\"batchSize.*?\})`", PAGE.text)
    assert json.loads(body) == SyncOptions().model_dump(by_alias=True)


@runs(PAGE.block("sql", "crm_customer_mapping"))
async def test_a_person_decides(blocks: tuple[Block], club: Club) -> None:
    """The statement stores a mapping where there was an ambiguous attempt, or none at all."""
    ambiguous = await club.profile(phone_number="0812345678")
    fresh = await club.profile(name="Fresh")
    await club.crm.execute("insert into customers (id, phone) values (90, '0812345678'), (91, '0812345678')")
    assert (await club.map(ambiguous)).customer_id is None
    for profile in (ambiguous, fresh):
        await club.execute(blocks[0].text.replace("$1", "%s"), profile)
        assert (await club.map(profile)).customer_id == "42"


async def test_the_commands_are_those(club: Club) -> None:
    """Each that the page names is there."""
    named = {span.split()[2] for span in PAGE.code if span.startswith("hearken packages ")}
    told = await hearken(club.url, "packages", "--help", HEARKEN_HANDLERS=PACKAGE)
    assert named == {"match", "sync", "cron-sql"}
    assert all(re.search(rf"^  {name} ", told.out, re.MULTILINE) for name in named)
