"""Promise: a session is counted down by whole minutes of the database's clock, each once, and ends when it is over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.arcade import Arcade, another, open_arcade
from tests.support.waiting import eventually, until_blocked

WAITS_FIRST = "select count(*) from pg_locks where not granted and locktype = 'advisory'"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def count(arcade: Arcade) -> tuple[int, int, int]:
    """Count down once: sessions counted, ended, reservations due."""
    row = await arcade.call("countdown_active_sessions")
    return row["counted"], row["ended"], row["due"]


async def used(arcade: Arcade, session: int) -> int:
    return int((await arcade.read(session))["minutes_used"])


async def test_whole_minutes_are_counted_once(database_url: str) -> None:
    """59 s are nothing yet; the seconds over are not lost; a second run in the same minute counts nothing."""
    async with open_arcade(database_url) as arcade:
        session = await arcade.session("active")
        seen = []
        for seconds in (59, 1, 90, 30):
            await arcade.later(seconds)
            seen.append((await count(arcade), await count(arcade), await used(arcade, session)))
        nothing, one = (0, 0, 0), (1, 0, 0)
        assert seen == [(nothing, nothing, 0), (one, nothing, 1), (one, nothing, 2), (one, nothing, 3)]
        assert (await arcade.read(session))["minutes_remaining"] == 57


@pytest.mark.parametrize("after", [timedelta(minutes=3), timedelta(minutes=3, seconds=40), timedelta(days=2)])
async def test_it_ends_when_its_time_is_up(database_url: str, after: timedelta) -> None:
    """Also when nobody counted meanwhile: with the minutes bought, and the time at which they were over."""
    async with open_arcade(database_url) as arcade:
        short, long = await arcade.session("active", 3), await arcade.session("active", 10_000)
        await arcade.later(after.total_seconds())
        assert await count(arcade) == (2, 1, 0)
        ended = await arcade.read(short)
        assert (ended["status"], ended["minutes_used"], ended["minutes_remaining"]) == ("completed", 3, 0)
        assert ended["ended_at"] == START + timedelta(minutes=3)
        assert await used(arcade, long) == after // timedelta(minutes=1)
        assert (await arcade.read(long))["status"] == "active"


async def test_only_the_active_are_counted(database_url: str) -> None:
    """Ready, paused and ended sessions stay as they are, however long it takes."""
    async with open_arcade(database_url) as arcade:
        others = [await arcade.session(status) for status in ("ready", "paused", "completed", "expired", "cancelled")]
        before = [await arcade.read(session) for session in others]
        await arcade.later(86_400)
        assert await count(arcade) == (0, 0, 0)
        assert [await arcade.read(session) for session in others] == before


async def test_a_pause_costs_nothing_and_gives_nothing(database_url: str) -> None:
    """Played in pieces of 40 s with long pauses between them: each three are two minutes."""
    async with open_arcade(database_url) as arcade:
        session = await arcade.session("active")
        for _ in range(6):
            await arcade.later(40)
            await arcade.call("pause_session", session)
            await arcade.later(3600)
            assert await count(arcade) == (0, 0, 0)
            await arcade.call("resume_session", session)
        assert await used(arcade, session) == 4
        assert (await arcade.read(session))["paused_at"] is None


@pytest.mark.parametrize("end", ["cancelled", "expired", "completed"])
async def test_what_ends_early_is_counted_up_to_then(database_url: str, end: str) -> None:
    """By hand too: the minutes played, and when it ended."""
    async with open_arcade(database_url) as arcade:
        session = await arcade.session("active")
        await arcade.later(150)
        await arcade.rows("update active_game_sessions_v2 set status = %s", end)
        row = await arcade.read(session)
        assert (row["minutes_used"], row["ended_at"]) == (2, START + timedelta(seconds=150))


async def test_a_pause_after_the_end_completes(database_url: str) -> None:
    """Its time was up before anybody counted: it is completed, as of then."""
    async with open_arcade(database_url) as arcade:
        session = await arcade.session("active", 5)
        await arcade.later(600)
        row = await arcade.call("pause_session", session)
        assert (row["status"], row["minutes_used"]) == ("completed", 5)
        assert row["ended_at"] == START + timedelta(minutes=5)


async def test_two_countdowns_at_once_count_once(database_url: str) -> None:
    """The second waits before it takes any row (else each could wait for the other), and finds nothing left."""
    async with open_arcade(database_url) as arcade, another(database_url) as other:
        sessions = [await arcade.session("active", minutes) for minutes in (1, 60)]
        await arcade.later(61)
        async with arcade.connection.transaction():
            assert await count(arcade) == (2, 1, 0)
            second = asyncio.create_task(count(other))
            await eventually(lambda: arcade.value(WAITS_FIRST), "countdown that waits first")
        assert await second == (0, 0, 0)
        assert [await used(arcade, session) for session in sessions] == [1, 1]


async def test_a_pause_at_the_moment_of_a_countdown_counts_once(database_url: str) -> None:
    """Whoever comes second sees what the first has counted."""
    async with open_arcade(database_url) as arcade, another(database_url) as other:
        session = await arcade.session("active")
        await arcade.later(61)
        async with arcade.connection.transaction():
            await arcade.call("pause_session", session)
            counting = asyncio.create_task(count(other))
            await until_blocked(arcade.connection)
        assert await counting == (0, 0, 0)
        assert await used(arcade, session) == 1


async def test_a_reservation_opens_at_its_time(database_url: str) -> None:
    """Not before; then its purchase is pending, once."""
    async with open_arcade(database_url) as arcade:
        purchase = await arcade.purchase(session_status="reserved", scheduled_for="2026-03-01 12:10+00")
        await arcade.purchase(scheduled_for="2026-03-01 12:10+00", session_status="cancelled")
        await arcade.later(599)
        assert await count(arcade) == (0, 0, 0)
        await arcade.later(1)
        assert await count(arcade) == (0, 0, 1)
        assert await count(arcade) == (0, 0, 0)
        assert await arcade.value("select session_status from purchases where id = %s", purchase) == "pending"
