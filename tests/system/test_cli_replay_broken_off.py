"""Promise: a replay that ends in the middle goes on with what was left: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from collections import Counter

import pytest

from tests.support.cli import SAMPLE, Result, Rooms, hearken, start, start_on_terminal
from tests.support.waiting import eventually
from tests.support.workers import start_worker

EVENTS = 300
CHOICE = ("--topic", "public.rooms", "--since", "1h")
DELIVERED = "select count(*) from deliveries where replay_of is not null"
APPENDED = "select count(*) from hearken.events where replay_of is not null"


@pytest.fixture
async def many(rooms: Rooms) -> Rooms:
    """Rooms with an event each."""
    await rooms.execute("insert into rooms select i, 'blue', 10 from generate_series(1, %s) i", EVENTS)
    await rooms.bench.drain()
    return rooms


async def until_appended(rooms: Rooms, events: int) -> None:
    """Wait until a replay is so far: no signal tells of it."""
    await eventually(lambda: rooms.value(APPENDED), f"replay of {events} events", fits=lambda found: found >= events)


async def begin_and_send(rooms: Rooms, number: signal.Signals, *arguments: str) -> Result:
    """Begin a slow replay, and send its process a signal in the middle."""
    async with start(rooms.url, "replay", *CHOICE, "--rate", "100", "--yes", *arguments) as process:
        await until_appended(rooms, 20)
        process.send_signal(number)
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def replays_of(rooms: Rooms) -> Counter[int]:
    rows = await rooms.execute("select replay_of from hearken.events where replay_of is not null")
    return Counter(row["replay_of"] for row in rows)


ONCE = Counter(range(1, EVENTS + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_replay_says_how_to_go_on(many: Rooms, number: signal.Signals) -> None:
    """Exit code 130, how far it came, and the very command; which does the rest, and then has nothing to do."""
    result = await begin_and_send(many, number)
    done = await many.value(APPENDED)
    assert (result.code, 20 <= done < EVENTS) == (130, True), result
    assert f"interrupted: {done} of {EVENTS} appended, up to event {done}" in result.err
    command = result.err.strip().rpartition("resume with: hearken ")[2].split()
    again = await hearken(many.url, *command, "--json")
    assert (again.code, again.json["appended"], again.json["left"]) == (0, EVENTS - done, 0), again
    assert await replays_of(many) == ONCE
    complete = await hearken(many.url, *command)
    assert (complete.code, complete.out) == (0, ""), complete
    assert "is complete" in complete.err
    assert await replays_of(many) == ONCE


async def test_an_interrupted_replay_ends_its_json(many: Rooms) -> None:
    """The document is whole, and says how much is left."""
    result = await begin_and_send(many, signal.SIGINT, "--json")
    assert len(result.json["events"]) == result.json["appended"] == EVENTS - result.json["left"] < EVENTS


async def test_a_killed_replay_is_run_again(many: Rooms) -> None:
    """The same command goes on. What has been committed since is not part of it."""
    assert (await begin_and_send(many, signal.SIGKILL)).code == -signal.SIGKILL
    await many.execute("insert into rooms values (1000, 'late', 1)")
    result = await hearken(many.url, "replay", *CHOICE, "--rate", "10000", "--yes", "--json")
    assert (result.code, result.json["left"]) == (0, 0), result
    assert "resumes replay" in result.err
    assert await replays_of(many) == ONCE


async def test_only_the_same_command_goes_on(many: Rooms) -> None:
    """Another one is a replay of its own, and so is the same with --afresh, or once all is done."""
    await begin_and_send(many, signal.SIGKILL)
    other = await hearken(many.url, "replay", "1", "--yes", "--json")
    afresh = await hearken(many.url, "replay", *CHOICE, "--afresh", "--rate", "9999", "--yes", "--json")
    assert (other.json["appended"], afresh.json["appended"]) == (1, EVENTS)
    assert "resumes" not in other.err + afresh.err
    for _ in range(2):
        result = await hearken(many.url, "replay", "2", "--yes", "--json")
        assert (result.code, result.json["appended"]) == (0, 1)


async def test_two_operators_at_once_each_replay_their_own(many: Rooms) -> None:
    """The same command twice: both end well, and what each has appended is whole, in order, and named by its run."""
    command = ("replay", *CHOICE, "--rate", "1500", "--yes", "--json")
    results = await asyncio.gather(hearken(many.url, *command), hearken(many.url, *command))
    assert [result.code for result in results] == [0, 0], results
    runs = {result.json["run"] for result in results}
    assert len(runs) == 2
    for run in runs:
        rows = await many.execute(
            "select replay_of from hearken.events where note->'replay'->>'run' = %s order by id", str(run)
        )
        assert [row["replay_of"] for row in rows] == sorted(ONCE)


async def test_a_run_has_one_at_it(many: Rooms) -> None:
    """Going on with a run that somebody is at is refused."""
    async with start(many.url, "replay", *CHOICE, "--rate", "20", "--yes") as process:
        await until_appended(many, 3)
        run = await many.value("select id from hearken.events where topic = 'hearken/replay'")
        result = await hearken(many.url, "replay", "--run", str(run), "--yes")
        assert process.returncode is None
    assert (result.code, "somebody else is running" in result.err) == (1, True), result


async def test_a_running_worker_gets_everything_once(many: Rooms) -> None:
    """Broken off and gone on with under it: every event of the run is delivered to each handler, in order."""
    async with start_worker(many.url, [SAMPLE]) as worker:
        await worker.said("working")
        await begin_and_send(many, signal.SIGKILL)
        result = await hearken(many.url, "replay", *CHOICE, "--rate", "10000", "--yes", "--json")
        assert result.code == 0, result

        await eventually(lambda: many.value(DELIVERED), "whole delivery", fits=lambda found: found >= 2 * EVENTS)
    for handler in ("note_room", "price_room"):
        assert [of for _, of in await many.delivered(handler) if of] == sorted(ONCE)


async def test_ctrl_c_at_the_question_ends_it(many: Rooms) -> None:
    """On a terminal it shows the count and a sample, and asks; nothing is appended then."""
    ours, theirs = pty.openpty()
    async with start_on_terminal(many.url, theirs, "replay", *CHOICE) as process:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 1000)
        async with asyncio.timeout(30):
            while process.returncode is None:  # the prompt is there a moment before it can be interrupted
                process.send_signal(signal.SIGINT)
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=5)
    assert process.returncode == 130
    os.close(ours)
    assert f"Replay {EVENTS} events for note_room, price_room?" in shown.decode()
    assert await replays_of(many) == Counter()
