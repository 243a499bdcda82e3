"""Promise: the CRM's client gives every row or an outcome, sits short faults out, and lets no secret out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from prometheus_client import REGISTRY

from handlers.packages import Crm
from handlers.packages.errors import CrmOutcome
from tests.support.crm import CrmServer, open_client, open_crm
from tests.support.gateway import Fault
from worker.dev.embedded import EmbeddedPostgres
from worker.outcomes import Park, Unavailable

ALL = {"customer_id": "eq.7"}


@pytest.fixture
async def crm(shared_postgres: EmbeddedPostgres) -> AsyncIterator[CrmServer]:
    """A CRM of the test's own that gives at most ten rows at once; customer 7 has 35 packages, customer 8 one."""
    async with open_crm(shared_postgres, max_rows=10) as server:
        await server.execute(
            "insert into packages (id, customer_id, package_name)"
            " select i, case i when 36 then 8 else 7 end, 'Gold' from generate_series(1, 36) i"
        )
        yield server


@pytest.fixture
async def client(crm: CrmServer) -> AsyncIterator[Crm]:
    """A client of it."""
    async with open_client(crm.gateway) as client:
        yield client


async def ids(client: Crm) -> list[int]:
    return [row["id"] for row in await client.rows("packages", "id,package_name", ALL)]


async def test_a_page_cut_short_by_the_server_is_not_the_end(client: Crm, crm: CrmServer) -> None:
    """A thousand are asked for, ten come: Content-Range says that there are more, and when there are none."""
    assert await ids(client) == list(range(1, 36))
    assert [call.query.get("id") for call in crm.gateway.calls] == [None, "gt.10", "gt.20", "gt.30"]


async def test_without_a_count_only_an_empty_page_is_the_end(client: Crm, crm: CrmServer) -> None:
    """A gateway that swallows the wish for a count costs one more request, and no row."""
    crm.gateway.fault(Fault(uncounted=True, times=None))
    assert await ids(client) == list(range(1, 36))
    assert [call.query.get("id") for call in crm.gateway.calls] == [None, "gt.10", "gt.20", "gt.30", "gt.35"]


async def test_416_is_the_end(client: Crm, crm: CrmServer) -> None:
    """PGRST103, in answer to the second page, means that the first was all."""
    body = '{"code": "PGRST103", "message": "Requested range not satisfiable"}'
    crm.gateway.fault(Fault(status=416, body=body, only=lambda call: "id" in call.query))
    assert await ids(client) == list(range(1, 11))


async def test_416_for_another_reason_is_not_the_end(client: Crm, crm: CrmServer) -> None:
    """Half a list must not pass for a whole one."""
    crm.gateway.fault(Fault(status=416, body='{"code": "22003"}', only=lambda call: "id" in call.query))
    with pytest.raises(Park, match=r"packages \(HTTP 416, 22003\)"):
        await ids(client)


async def test_rows_that_come_and_go_meanwhile_move_no_others(client: Crm, crm: CrmServer) -> None:
    """One that was read is deleted while the second page is on its way: no other is missed."""
    crm.gateway.fault(Fault(delay=60, only=lambda call: "id" in call.query))
    reading = asyncio.create_task(ids(client))
    await crm.gateway.asked(2)
    await crm.execute("delete from packages where id = 5")
    crm.gateway.release()
    assert await reading == list(range(1, 36))


async def test_nothing_is_an_answer(client: Crm) -> None:
    """No rows is an empty list after one question."""
    assert await client.rows("packages", "id", {"customer_id": "eq.9"}) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=500),
        Fault(status=408),
        Fault(status=429),
        Fault(drop=True),
        Fault(cut=True),
        Fault(status=200, body="<html>Welcome to our café's network</html>"),
        Fault(status=200, body='{"id": 1}', headers={"Content-Range": "0-0/1"}),
        Fault(status=200, body="[]", headers={"Content-Range": "*/35"}),
        Fault(status=200, body='[{"id": 1}]', headers={"Content-Range": "0-9/35"}),
        Fault(status=200, body='[{"id": 1}]'),
        Fault(status=200, body='[{"id": 35}]', headers={"Content-Range": "34-34/35"}),
        Fault(status=200, body='[{"name": 1}]', headers={"Content-Range": "0-0/1"}),
    ],
    ids=lambda fault: f"{fault.status}{' drop' * fault.drop}{' cut' * fault.cut} {fault.body[:12]}",
)
async def test_a_passing_fault_is_sat_out_and_a_lasting_one_is_told(client: Crm, crm: CrmServer, fault: Fault) -> None:
    """The same question is asked again; after a few tries it is the destination that is down, with no row's value."""
    crm.gateway.fault(fault)
    assert await ids(client) == list(range(1, 36))
    assert len(crm.gateway.calls) == 5
    crm.gateway.calls.clear()
    fault.times = None
    with pytest.raises(Unavailable, match="packages") as caught:
        await ids(client)
    assert not caught.value.alarm
    assert "somebody" not in caught.value.reason
    assert "café" not in caught.value.reason
    # A kept connection that is cut is replaced by aiohttp once, for each try.
    assert len(crm.gateway.calls) == (8 if fault.drop else 4)


async def test_a_slow_answer_is_not_waited_for(crm: CrmServer) -> None:
    """Each try has its own timeout."""
    crm.gateway.fault(Fault(delay=30, times=None))
    async with open_client(crm.gateway, timeout=0.1) as client:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer packages: TimeoutError"):
            await ids(client)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("status", "in_words"), [(429, False), (429, True), (503, False)])
async def test_retry_after_is_obeyed_when_it_is_short(client: Crm, crm: CrmServer, status: int, in_words: bool) -> None:
    """Nobody asks before the CRM said, in seconds or as a date."""
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    crm.gateway.fault(Fault(status=status, headers={"Retry-After": then if in_words else "0.5"}))
    await ids(client)
    first, second, *_ = crm.gateway.calls
    assert second.at - first.at >= 0.49


async def test_retry_after_is_handed_on_when_it_is_long(client: Crm, crm: CrmServer) -> None:
    """A handler does not wait for a minute: the event is parked for as long as the CRM wishes."""
    crm.gateway.fault(Fault(status=503, headers={"Retry-After": "60"}))
    with pytest.raises(Unavailable) as caught:
        await ids(client)
    assert (caught.value.after, caught.value.alarm, len(crm.gateway.calls)) == (60, False, 1)


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        ("nothing", "id", r"lacks a table or column .* \(HTTP 404, 42P01\)"),
        ("packages", "id,nothing", r"lacks a table or column .* \(HTTP 400, 42703\)"),
    ],
)
async def test_a_crm_of_another_shape_stops_everything(client: Crm, table: str, columns: str, says: str) -> None:
    """No event can succeed before a person has mended it: an alarm, not one dead event after the other."""
    with pytest.raises(Unavailable, match=says) as caught:
        await client.rows(table, columns, {})
    assert caught.value.alarm


async def test_a_redirect_is_not_followed_with_the_key(client: Crm, crm: CrmServer) -> None:
    """The address is wrong, and another host gets no key of ours."""
    crm.gateway.fault(Fault(status=301, headers={"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(Unavailable, match="no PostgREST at CRM_SUPABASE_URL") as caught:
        await ids(client)
    assert caught.value.alarm


@pytest.mark.parametrize("lacking", ["key", "right"])
async def test_a_denied_key_stops_everything_and_is_not_shown(crm: CrmServer, lacking: str) -> None:
    """A wrong key, or a right one whose role may not read: an alarm that says what to do."""
    key = "a-wrong-key" if lacking == "key" else crm.gateway.key
    await crm.execute("revoke select on packages from crm_reader")
    async with open_client(crm.gateway, key=key) as client:
        with pytest.raises(Unavailable, match=r"denies CRM_SUPABASE_KEY .* restart") as caught:
            await ids(client)
        shown = f"{client!r} {client.settings!r} {client.settings} {caught.value.reason}"
    assert caught.value.alarm
    assert key not in shown
    assert len(crm.gateway.calls) == 1


async def test_a_question_that_does_not_fit_is_dead_with_its_code(client: Crm) -> None:
    """A text where the CRM has numbers: the reason has Postgres' code, and not the value that it quotes."""
    with pytest.raises(Park, match=r"packages \(HTTP 400, 22P02\)") as caught:
        await client.rows("packages", "id", {"customer_id": "eq.secret"})
    assert "secret" not in caught.value.reason


async def test_a_body_of_any_size_is_not_read(client: Crm, crm: CrmServer) -> None:
    """More than a page can have is refused, not gathered in memory."""
    crm.gateway.fault(Fault(status=200, body=" " * (16 * 2**20 + 1), times=None))
    with pytest.raises(Park, match="larger than 16 MB"):
        await ids(client)


async def test_calls_are_counted_by_result(client: Crm, crm: CrmServer) -> None:
    """Each request counts once, under what came of it."""

    def counted(result: str) -> float:
        labels = {"table": "packages", "result": result}
        return REGISTRY.get_sample_value("hearken_crm_calls_total", labels) or 0

    before = {result: counted(result) for result in ("ok", "down", "limited")}
    crm.gateway.fault(Fault(status=503))
    crm.gateway.fault(Fault(status=429))
    await ids(client)
    assert {result: counted(result) - was for result, was in before.items()} == {"ok": 4, "down": 1, "limited": 1}


async def test_requests_keep_the_pace(crm: CrmServer) -> None:
    """However many ask, the CRM is asked no more often than the setting says."""
    async with open_client(crm.gateway, rps=20) as client:
        await ids(client)
        await ids(client)
    calls = crm.gateway.calls
    assert calls[-1].at - calls[0].at >= 7 / 20 - 0.06


def test_outcomes_of_the_crm_are_outcomes_of_the_engine() -> None:
    """Whatever is raised, the engine knows what to do with it."""
    assert all(issubclass(kind, (Park, Unavailable)) for kind in CrmOutcome.__subclasses__())
