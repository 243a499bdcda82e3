"""Promise: on the command line one sees which purchases disagree, what was sold, and an invoice's code."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import segno

from tests.support.cli import Result
from tests.support.cli import hearken as command
from tests.support.played import Arcade, open_arcade

SOLD = """
insert into purchases (minutes, payment_status, session_status, amount_cents, currency, created_at)
values (60, %s, %s, %s, %s, %s::timestamptz)
"""


@pytest.fixture
async def arcade(database_url: str) -> AsyncIterator[Arcade]:
    """The handlers of sessions at work on a database of their own."""
    async with open_arcade(database_url) as opened:
        yield opened


async def hearken(url: str, *arguments: str) -> Result:
    """A command, with these handlers declared."""
    return await command(url, *arguments, HEARKEN_HANDLERS="handlers.sessions")


def assert_one_line(result: Result, code: int, said: str) -> None:
    """Check that a command said this and no more."""
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1), result
    assert said in result.err


async def test_a_mismatch_is_listed_and_mended(arcade: Arcade, database_url: str) -> None:
    """None: exit code 0. One: it is shown, exit code 1. `sync` tells how many it mended, and then there is none."""
    purchase = await arcade.buy()
    session = await arcade.play(purchase)
    other = await arcade.buy()
    none, all_of_them = await asyncio.gather(
        hearken(database_url, "purchases", "overview", "--mismatch"),
        hearken(database_url, "purchases", "overview", "--json"),
    )
    assert_one_line(none, 0, "no purchase disagrees")
    assert [(row["purchase_id"], row["sync_status"]) for row in all_of_them.json] == [
        (other, "NO_SESSION"),
        (purchase, "SYNCED"),
    ]
    await arcade.execute("update purchases set session_status = 'paused' where id = %s", purchase)
    plain, machine = await asyncio.gather(
        hearken(database_url, "purchases", "overview", "--mismatch"),
        hearken(database_url, "purchases", "overview", "--mismatch", "--json"),
    )
    assert (plain.code, machine.code) == (1, 1), plain.err
    assert plain.out.splitlines()[1].split() == [
        *map(str, (purchase, "completed", "paused", session, "active")),
        "MISMATCH",
    ]
    assert [row["purchase_session_status"] for row in machine.json] == ["paused"]
    assert (await hearken(database_url, "purchases", "sync", "--json")).json == {"mended": 1}
    assert await arcade.says(purchase) == "active"
    assert_one_line(await hearken(database_url, "purchases", "sync"), 0, "0 fixed")


async def test_the_newest_come_first_and_only_so_many(arcade: Arcade, database_url: str) -> None:
    """A long list is cut where it was asked to be."""
    ids = [await arcade.buy() for _ in range(3)]
    result = await hearken(database_url, "purchases", "overview", "--limit", "2", "--json")
    assert [row["purchase_id"] for row in result.json] == [ids[2], ids[1]]


async def test_the_report_of_the_week(arcade: Arcade, database_url: str) -> None:
    """Per day: paid purchases, how many are active and completed, and each currency's revenue by itself."""
    today = (await arcade.value("select date_trunc('day', now() at time zone 'UTC')")).replace(hour=0)
    for status, session, amount, currency, age in (
        ("completed", "active", 500, "EUR", 0),
        ("completed", "completed", 250, "EUR", 0),
        ("completed", "completed", 1000, "XOF", 0),
        ("refunded", "cancelled", 900, "EUR", 0),
        ("completed", "completed", 700, "EUR", 2),
        ("completed", "completed", 700, "EUR", 30),
    ):
        await arcade.execute(SOLD, status, session, amount, currency, f"{today - timedelta(days=age)}+00")
    plain, machine, longer = await asyncio.gather(
        hearken(database_url, "purchases", "report"),
        hearken(database_url, "purchases", "report", "--since", "7d", "--json"),
        hearken(database_url, "purchases", "report", "--since", "60d", "--json"),
    )
    assert machine.json == [
        {
            "day": f"{today:%Y-%m-%d}",
            "purchases": 3,
            "active": 1,
            "completed": 2,
            "revenue": {"EUR": 750, "XOF": 1000},
        },
        {
            "day": f"{today - timedelta(days=2):%Y-%m-%d}",
            "purchases": 1,
            "active": 0,
            "completed": 1,
            "revenue": {"EUR": 700},
        },
    ]
    assert "750 EUR, 1000 XOF" in plain.out
    assert len(longer.json) == 3
    await arcade.execute("delete from purchases")


async def test_an_empty_report_says_so(database_url: str) -> None:
    """Nothing sold is no error; a time that is none is wrong usage."""
    empty, wrong = await asyncio.gather(
        hearken(database_url, "purchases", "report"),
        hearken(database_url, "purchases", "report", "--since", "yesterday"),
    )
    assert_one_line(empty, 0, "nothing was sold since")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'yesterday'" in wrong.err


@pytest.mark.parametrize("ending", ["png", "svg", "PNG"])
async def test_the_code_of_an_invoice_is_drawn(arcade: Arcade, database_url: str, tmp_path: Path, ending: str) -> None:
    """The picture, in the format of the file's ending, is of what the scan must find."""
    await arcade.buy()
    ((number, content),) = [row.values() for row in await arcade.execute("select id, qr_content from invoices")]
    file = tmp_path / f"code.{ending}"
    result = await hearken(database_url, "invoice", "qr", str(number), "--out", str(file), "--json")
    assert (result.code, result.json) == (0, {"invoice": number, "file": str(file)})
    wanted = io.BytesIO()
    segno.make_qr(content).save(wanted, kind=ending.lower(), scale=8)
    assert file.read_bytes() == wanted.getvalue()


async def test_a_code_that_cannot_be_drawn_is_one_line(database_url: str, tmp_path: Path) -> None:
    """An unknown invoice, an ending we do not draw, a place that cannot be written: exit code 2, and no file."""
    unknown, ending, number = await asyncio.gather(
        hearken(database_url, "invoice", "qr", "7", "--out", str(tmp_path / "a.png")),
        hearken(database_url, "invoice", "qr", "7", "--out", str(tmp_path / "a.gif")),
        hearken(database_url, "invoice", "qr", "seven", "--out", str(tmp_path / "a.png")),
    )
    assert_one_line(unknown, 2, "no such invoice: 7")
    assert_one_line(ending, 2, "ends in .png or .svg")
    assert (number.code, "'seven'" in number.err) == (2, True)
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_a_file_that_cannot_be_written_is_one_line(arcade: Arcade, database_url: str, tmp_path: Path) -> None:
    """The file is named, with why."""
    await arcade.buy()
    file = tmp_path / "nowhere" / "a.png"
    number = await arcade.value("select id from invoices")
    result = await hearken(database_url, "invoice", "qr", str(number), "--out", str(file))
    assert_one_line(result, 2, f"{file} cannot be written: No such file or directory")


async def test_an_empty_database_is_told_to_migrate(empty_database_url: str) -> None:
    """Without the tables each command says what makes them, exit code 1."""
    for arguments in (["purchases", "overview"], ["purchases", "report"], ["invoice", "qr", "1", "--out", "a.png"]):
        assert_one_line(await hearken(empty_database_url, *arguments), 1, "hearken migrate")
