"""Promise: whatever a row holds, commands show it: no traceback, valid JSON, nothing that steers the terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from tests.support.cli import Result, hearken, program
from worker import Change, Context, Park, Planned, on
from worker.testing import bench

HANDLERS = {"HEARKEN_HANDLERS": __name__}
TABLE = "create table odd (id text primary key, doc jsonb, raw json, n numeric, at timestamptz)"
ROWS = {
    "digits": ("n", "1" + "0" * 5_000),
    "deep": ("raw", "[" * 5_000 + "]" * 5_000),
    "nearly deep": ("raw", "[" * 900 + "]" * 900),
    "surrogate": ("raw", r'{"a": "\ud800", "b": "\u0000"}'),
    "nan": ("n", "NaN"),
    "huge": ("raw", "1e400"),
    "for ever": ("at", "infinity"),
    "\x1b[31m\x1b]0;owned\x07\nsecond line": ("raw", '"[/bold] [red]"'),
    "[/bold]": ("raw", "null"),
    "100%s": ("doc", '{"%s": "%(x)s"}'),
}


@on("public.odd", fold=True, plans=True, concurrency=1)
async def look(change: Change, ctx: Context) -> None:
    """Plan something odd for each, and refuse it."""
    row = await ctx.row(change)
    if ctx.planning:
        ctx.plan(
            "odd", [Planned("odd\x1b.write", change.key, {"row": (math.nan, row), "\ud800": (b"\xff", Decimal("NaN"))})]
        )
        return
    raise Park(f"{change.key} is odd \x1b[31m\udcff")


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    async with bench(empty_database_url) as nothing:
        await nothing.execute(TABLE)
    async with bench(empty_database_url, look) as stage:
        for key, (column, value) in ROWS.items():
            await stage.execute(f"insert into odd (id, {column}) values (%s, %s)", (key, value))
        await stage.drain()
        assert sorted(row["key"] for row in await stage.parked()) == sorted(ROWS)
        yield empty_database_url


def check_printed(result: Result, code: int = 0) -> Result:
    """No traceback, nothing that steers a terminal."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert not set(result.out + result.err) - {"\n"} & set(map(chr, range(32)))
    return result


def strictly(document: str) -> object:
    """JSON as its standard has it, without NaN; deeper and longer than Python reads it by itself."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        return json.loads(document, parse_constant=pytest.fail, parse_int=Decimal)
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("options", [[], ["--json"]])
async def test_every_command_shows_odd_rows(url: str, options: list[str]) -> None:
    """explain, events, dead list, dead show, replay --dry-run: all of them, as text and as JSON."""
    said = [
        await hearken(url, "events", "--topic", "public.odd", "--rows", *options, **HANDLERS),
        await hearken(url, "dead", "list", *options, **HANDLERS),
        await hearken(url, "replay", "--topic", "public.odd", "--handler", "look", "--dry-run", *options, **HANDLERS),
        await hearken(url, "status", *options, **HANDLERS),
    ]
    for number, key in enumerate(ROWS, 1):
        said.append(await hearken(url, "explain", *options, f"odd/{key}", **HANDLERS))
        said.append(await hearken(url, "dead", "show", *options, str(number), **HANDLERS))
    for result in map(check_printed, said):
        for line in result.out.splitlines() if options else []:
            strictly(line)


async def test_an_argument_that_is_no_text_is_refused(url: str) -> None:
    """Bytes that are no UTF-8 cannot be stored: wrong usage, with the place of the argument."""
    for arguments in (("explain", "odd/\udcff"), ("dead", "skip", "--all", "--yes", "--reason", "\udcff")):
        result = await program(url, *arguments, **HANDLERS)
        assert result.code == 2
        assert "is not UTF-8" in result.err
        assert "Traceback" not in result.err


async def test_odd_rows_are_backfilled_and_replayed(url: str) -> None:
    """Appending events of them again is no different from any other."""
    assert check_printed(await hearken(url, "backfill", "public.odd", "--yes", **HANDLERS)).code == 0
    assert check_printed(await hearken(url, "replay", "--topic", "public.odd", "--yes", **HANDLERS)).code == 0
