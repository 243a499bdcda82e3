"""Promise: the bulk sync does every profile once, one failure harms no other, and a killed run is gone on with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from handlers.packages.bulk import BulkProgress, bulk_sync
from handlers.packages.result import SyncAnswer, SyncOptions, UnderWay
from handlers.packages.runs import last_answer
from tests.support.gateway import Call, Fault
from tests.support.packages import Club, open_club
from worker.dev.embedded import EmbeddedPostgres
from worker.outcomes import Unavailable


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


async def bulk(club: Club, pause: float = 0, **options: object) -> SyncAnswer:
    answer = await bulk_sync(club.client, club.database, SyncOptions.model_validate(options), pause=pause)
    assert isinstance(answer, SyncAnswer)
    return answer


def about(customer: int) -> Fault:
    """503 for one customer, for good."""
    return Fault(status=503, times=None, only=lambda call: call.query.get("customer_id") == f"eq.{customer}")


async def test_the_answer_has_the_documented_shape(club: Club) -> None:
    """Names, types and forms, as the endpoint's users know them."""
    await club.fill(3)
    club.gateway.fault(about(2))
    answer = (await bulk(club)).model_dump(by_alias=True)
    assert list(answer) == ["success", "result", "timestamp"]
    names = ["totalProfiles", "successfulProfiles", "failedProfiles", "totalPackages", "errors", "duration"]
    assert list(answer["result"]) == names
    (error,) = answer["result"].pop("errors")
    assert re.fullmatch(r"Profile [0-9a-f-]{36}: the CRM failed: packages \(HTTP 503, 57014\)", error)
    assert re.fullmatch(r"\d+s", answer["result"].pop("duration"))
    assert list(answer["result"].values()) == [3, 2, 1, 4]
    assert answer["success"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer["timestamp"])


async def test_nobody_to_sync_is_a_success(club: Club) -> None:
    """Profiles without a customer are not asked about."""
    await club.profile(email="jane@example.com")
    result = (await bulk(club)).result
    assert (result.total_profiles, club.gateway.calls) == (0, [])


async def test_batches_with_pauses_and_several_at_once(club: Club) -> None:
    """Three batches of ten have two pauses between them; inside a batch several are asked about at the same time."""
    await club.fill(30)
    await bulk(club, pause=0.3, batchSize=10)
    times = [call.at for call in club.gateway.calls]
    gaps = [second - first for first, second in pairwise(times)]
    assert [number for number, gap in enumerate(gaps, 1) if gap >= 0.29] == [10, 20]
    assert 2 <= club.gateway.most_at_once <= 5


async def test_no_more_than_asked_for(club: Club) -> None:
    """maxProfiles, whatever the batch size."""
    await club.fill(12)
    assert (await bulk(club, batchSize=5, maxProfiles=7)).result.total_profiles == 7
    assert (await bulk(club, batchSize=5, maxProfiles=10)).result.total_profiles == 10
    assert len(club.gateway.calls) == 17


async def test_only_new_profiles_are_those_never_synced(club: Club) -> None:
    """The others have had their turn; one that failed is still new."""
    await club.fill(6)
    await bulk(club, maxProfiles=2)
    club.gateway.fault(about(6))
    assert (await bulk(club, onlyNewProfiles=True)).result.total_profiles == 4
    assert (await bulk(club, onlyNewProfiles=True)).result.failed_profiles == 1


async def test_a_profile_that_is_down_alone_does_not_stop_the_run(club: Club) -> None:
    """The last of a run too, in a batch of its own."""
    await club.fill(11)
    club.gateway.fault(about(11))
    result = (await bulk(club, batchSize=5)).result
    assert (result.successful_profiles, result.failed_profiles) == (10, 1)


async def test_many_errors_are_cut_short(club: Club) -> None:
    """A hundred are told, the rest are counted."""
    await club.fill(150)
    club.gateway.fault(Fault(status=400, times=None))
    result = (await bulk(club, batchSize=50)).result
    assert (result.failed_profiles, len(result.errors), result.errors[-1]) == (150, 101, "and 50 more")


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(drop=True), Fault(status=401)])
async def test_a_crm_that_is_down_ends_the_run_and_the_next_goes_on(club: Club, fault: Fault) -> None:
    """Not one failure after the other: the outcome is the engine's to wait by. What was done is not done again."""
    await club.fill(30)
    fault.times, fault.only = None, lambda _: len(club.gateway.calls) > 12
    club.gateway.fault(fault)
    with pytest.raises(Unavailable):
        await bulk(club, batchSize=10)
    assert await last_answer(club.database) is None
    club.gateway.faults.clear()
    club.gateway.calls.clear()
    result = (await bulk(club, batchSize=10)).result
    assert (result.total_profiles, result.successful_profiles, result.total_packages) == (30, 30, 60)
    assert len(club.gateway.calls) == 20
    answered = await last_answer(club.database)
    assert answered is not None
    assert answered.result == result


async def test_a_second_run_is_told_of_the_first(club: Club) -> None:
    """It asks the CRM nothing; when the first is over there may be another."""
    await club.fill(10)
    club.gateway.fault(Fault(delay=30, times=None, only=lambda _: len(club.gateway.calls) > 5))
    first = asyncio.create_task(bulk(club, batchSize=5))
    await club.gateway.asked(6)
    second = await bulk_sync(club.client, club.database)
    assert isinstance(second, UnderWay)
    assert (second.done, second.profiles) == (5, 10)
    assert re.fullmatch(r"a bulk sync is running since \d\d:\d\d:\d\d UTC: 5 of 10 profiles", str(second))
    first.cancel()
    await asyncio.wait([first])
    club.gateway.faults.clear()
    assert (await bulk(club)).result.total_profiles == 10


async def test_a_run_with_other_options_is_a_new_one(club: Club) -> None:
    """What was killed is not taken for something that was never asked for; nor is one of yesterday."""
    await club.fill(10)

    async def interrupted() -> None:
        club.gateway.calls.clear()
        club.gateway.fault(Fault(status=401, times=None, only=lambda _: len(club.gateway.calls) > 5))
        with pytest.raises(Unavailable):
            await bulk(club, batchSize=5)
        club.gateway.faults.clear()
        club.gateway.calls.clear()

    await interrupted()
    assert (await bulk(club, batchSize=4)).result.total_profiles == 10
    assert len(club.gateway.calls) == 10
    await interrupted()
    await club.execute("update hearken.package_syncs set started_at = now() - interval '13 hours'")
    await bulk(club, batchSize=5)
    assert len(club.gateway.calls) == 10
    open_runs = await club.execute("select * from hearken.package_syncs where ended_at is null")
    assert open_runs == []


async def test_profiles_that_come_and_go_meanwhile_are_no_failures(club: Club) -> None:
    """One deleted before its turn is not counted; the counts agree with each other."""
    await club.fill(12)
    last = "(select profile_id from public.crm_customer_mapping order by profile_id desc limit 1)"

    async def meanwhile(progress: BulkProgress) -> None:
        if progress.done == 10:
            await club.execute(f"delete from public.profiles where id = {last}")

    answer = await bulk_sync(club.client, club.database, SyncOptions(batch_size=5), progress=meanwhile, pause=0)
    assert isinstance(answer, SyncAnswer)
    assert answer.result.total_profiles == 11


async def test_progress_is_told_batch_by_batch(club: Club) -> None:
    """How many of how many."""
    await club.fill(12)
    told: list[BulkProgress] = []

    async def listen(progress: BulkProgress) -> None:
        told.append(progress)

    await bulk_sync(club.client, club.database, SyncOptions(batch_size=5), progress=listen, pause=0)
    assert told == [BulkProgress(5, 12, 0), BulkProgress(10, 12, 0), BulkProgress(12, 12, 0)]


async def test_five_thousand_profiles(club: Club) -> None:
    """All of them, each asked about once, in whatever order inside a batch."""
    await club.fill(5000)
    result = (await bulk(club, batchSize=100)).result
    assert (result.total_profiles, result.successful_profiles, result.total_packages) == (5000, 5000, 10_000)
    assert len(await club.live()) == 10_000
    asked = [call for call in club.gateway.calls if call.table == "packages"]
    assert len({_customer(call) for call in asked}) == len(asked) == 5000


def _customer(call: Call) -> str:
    return call.query["customer_id"]
