"""The page of purchases and sessions is run: what an application calls, and its picture."""

from __future__ import annotations

import re

from tests.support.pages import Block, page, runs
from tests.support.played import open_arcade
from worker.declare.registry import registry

PAGE = page("handlers/sessions/README.md")


@runs(PAGE.block("sql", "activate_invoice"))
async def test_what_an_application_calls(blocks: tuple[Block], database_url: str) -> None:
    """The statements in the order they stand in, each with time for the worker; the last two answer as they should."""
    *calls, summary, mismatches, rest = blocks[0].text.split(";")
    assert rest.strip() == ""
    async with open_arcade(database_url) as arcade:
        for call in calls:
            await arcade.execute(call)
            await arcade.bench.drain()
        ((session,), none) = await arcade.execute(summary), await arcade.execute(mismatches)
        statuses = [step[2] for step in await arcade.told(1)]
    assert (session["status"], none) == ("cancelled", [])
    assert statuses == ["ready", "active", "paused", "active", "cancelled"]


@runs(PAGE.block("text"))
async def test_the_picture_names_what_there_is(blocks: tuple[Block], database_url: str) -> None:
    """Its functions are those of the database, its handlers those that are declared."""
    registry.load(["handlers.sessions"])
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", blocks[0].text))
    async with open_arcade(database_url) as arcade:
        functions = {row["proname"] for row in await arcade.execute("select proname from pg_proc")}
        columns = {
            row["name"]
            for row in await arcade.execute(
                "select column_name as name from information_schema.columns where table_schema = 'public'"
                " union select table_name from information_schema.tables where table_schema = 'public'"
            )
        }
    assert named <= functions | columns | registry.handlers.keys()
    assert {"complete_purchase", "follow_session", "count_down"} <= named & registry.handlers.keys()
    assert {"activate_invoice", "start_session"} <= named & functions
