"""Promise 2 for slow keys: a delivery that takes its time holds up its own key, and no other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.served import execute, served
from tests.support.waiting import eventually
from worker import Change, Context, Retry, Skip, Snooze, Unavailable
from worker.declare.registry import Registry

ROWS = "select event_id, key, state, attempt, reason from hearken.parked order by event_id"


class Scene:
    """A handler of `things` whose deliveries end when the test says so."""

    def __init__(self, **options: Any) -> None:
        self.registry = Registry()
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.running: dict[str, int] = defaultdict(int)
        self.most = 0
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.raising: dict[tuple[str, str], Exception] = {}
        self._news = asyncio.Condition()
        self.registry.on("public.things", **options)(self.follow)

    async def follow(self, change: Change, ctx: Context) -> None:
        """Say that it begins; end when the gate of its key is open."""
        one = (str(change.key), str((change.new or {}).get("name")))
        self.running[one[0]] += 1
        assert self.running[one[0]] == 1, "two deliveries of one key at a time"
        self.most = max(self.most, sum(self.running.values()))
        try:
            await self._say(self.begun, one)
            await self.gates[one[0]].wait()
            if one in self.raising:
                raise self.raising.pop(one)
            await self._say(self.ended, one)
        finally:
            self.running[one[0]] -= 1

    async def _say(self, where: list[tuple[str, str]], one: tuple[str, str]) -> None:
        async with self._news:
            where.append(one)
            self._news.notify_all()

    def open(self, *keys: int) -> None:
        """Let the deliveries of these keys end, from now on."""
        for key in keys:
            self.gates[str(key)].set()

    async def until(self, where: list[tuple[str, str]], *all_of: tuple[str, str], seconds: float = 10) -> None:
        """Wait until all of these are there."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: set(all_of) <= set(where))


async def put(url: str, key: int, name: str) -> None:
    await execute(
        url, "insert into things values (%s, %s) on conflict (id) do update set name = excluded.name", key, name
    )


async def parked(url: str, *expected: tuple[Any, ...]) -> None:
    """Wait until key, state and failed attempts of what is parked are these."""

    async def read() -> list[tuple[Any, ...]]:
        return [(row[1], row[2], row[3]) for row in await execute(url, ROWS)]

    await eventually(read, f"parked {expected}", 10, fits=lambda rows: rows == list(expected))


async def test_a_slow_key_holds_up_no_other(empty_database_url: str) -> None:
    """Others are delivered while one runs; its own later events wait for it, and come in order."""
    scene = Scene(concurrency=2)
    async with served(empty_database_url, scene.registry):
        await put(empty_database_url, 1, "a")
        await scene.until(scene.begun, ("1", "a"))
        scene.open(*range(2, 40))
        for key in range(2, 40):
            await put(empty_database_url, key, "a")
        await put(empty_database_url, 1, "b")
        await put(empty_database_url, 1, "c")
        await scene.until(scene.ended, *((str(key), "a") for key in range(2, 40)))
        await parked(empty_database_url, ("1", "running", 0), ("1", "held", 0), ("1", "held", 0))
        assert ("1", "b") not in scene.begun
        scene.open(1)
        await scene.until(scene.ended, ("1", "a"), ("1", "b"), ("1", "c"))
        await parked(empty_database_url)
    assert [name for key, name in scene.ended if key == "1"] == ["a", "b", "c"]


async def test_a_newer_event_of_a_running_key_waits_where_events_fold(empty_database_url: str) -> None:
    """Two deliveries of one key never run at once; of what came meanwhile the newest is delivered."""
    scene = Scene(fold=True)
    async with served(empty_database_url, scene.registry):
        await put(empty_database_url, 1, "a")
        await parked(empty_database_url, ("1", "running", 0))
        await put(empty_database_url, 1, "b")
        await parked(empty_database_url, ("1", "running", 0), ("1", "held", 0))
        await put(empty_database_url, 1, "c")
        scene.open(1)
        await scene.until(scene.ended, ("1", "a"), ("1", "c"))
        await parked(empty_database_url)
    assert scene.ended in ([("1", "a"), ("1", "c")], [("1", "a"), ("1", "b"), ("1", "c")])


async def test_with_all_places_taken_the_cursor_waits(empty_database_url: str) -> None:
    """No more run than may, and nothing is parked that has not begun."""
    scene = Scene(concurrency=3)
    async with served(empty_database_url, scene.registry):
        for key in range(1, 9):
            await put(empty_database_url, key, "a")
        await parked(empty_database_url, *((str(key), "running", 0) for key in (1, 2, 3)))
        assert len(scene.begun) == 3
        scene.open(*range(1, 9))
        await scene.until(scene.ended, *((str(key), "a") for key in range(1, 9)))
        await parked(empty_database_url)
    assert scene.most == 3


async def test_a_late_failure_is_a_failed_attempt(empty_database_url: str) -> None:
    """It is tried again in its time, and what came after it waits."""
    scene = Scene()
    scene.raising["1", "a"] = Retry("not today", after=3600)
    async with served(empty_database_url, scene.registry):
        await put(empty_database_url, 1, "a")
        await parked(empty_database_url, ("1", "running", 0))
        await put(empty_database_url, 1, "b")
        await parked(empty_database_url, ("1", "running", 0), ("1", "held", 0))
        scene.open(1)
        await parked(empty_database_url, ("1", "due", 1), ("1", "held", 0))
        await execute(empty_database_url, "update hearken.parked set due_at = now() where state = 'due'")
        await put(empty_database_url, 2, "a")  # whoever sleeps looks at the clock again
        await scene.until(scene.ended, ("1", "a"), ("1", "b"))
        await parked(empty_database_url, ("2", "running", 0))
        scene.open(2)
        await parked(empty_database_url)


async def test_a_stop_gives_flights_back(empty_database_url: str) -> None:
    """What cannot end in time is cancelled: due at once, no attempt used; the next worker delivers it."""
    scene = Scene()
    async with served(empty_database_url, scene.registry, shutdown_timeout=0.2):
        await put(empty_database_url, 1, "a")
        await parked(empty_database_url, ("1", "running", 0))
    await parked(empty_database_url, ("1", "due", 0))
    scene.open(1)
    async with served(empty_database_url, scene.registry, prepared=False):
        await scene.until(scene.ended, ("1", "a"))
        await parked(empty_database_url)


async def test_what_is_no_longer_ours_begins_again(empty_database_url: str) -> None:
    """Whoever was taken for gone ends its own delivery before it gets the event back: never two of one key at once."""
    scene = Scene()
    async with served(empty_database_url, scene.registry):
        await put(empty_database_url, 1, "a")
        await parked(empty_database_url, ("1", "running", 0))
        await execute(empty_database_url, "update hearken.parked set worker = 4711")  # who does not live
        await put(empty_database_url, 2, "a")
        await scene.until(scene.begun, ("2", "a"))
        await eventually(lambda: _counted(scene, ("1", "a")), "second try", 10, fits=lambda count: count == 2)
        scene.open(1, 2)
        await parked(empty_database_url)
    assert scene.ended.count(("1", "a")) == 1


async def _counted(scene: Scene, one: tuple[str, str]) -> int:
    return scene.begun.count(one)


ENDS: dict[str, Callable[[], Exception | None]] = {
    "success": lambda: None,
    "retry": lambda: Retry("no", after=0.0),
    "snooze": lambda: Snooze(0, "later"),
    "skip": lambda: Skip("nothing to do"),
}
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(sorted(ENDS))), min_size=1, max_size=10)


def test_any_schedule_keeps_the_order_of_each_key(empty_database_url: str) -> None:
    """Slow, failing, snoozing and skipped deliveries on few keys: each key in order, nothing lost, nothing twice."""
    keys = count(1, 3)
    scene = Scene(concurrency=2)

    @settings(max_examples=20, deadline=None, derandomize=True, database=None)
    @given(steps=STEPS, opened=st.permutations(range(3)))
    def play(steps: list[tuple[int, str]], opened: list[int]) -> None:
        runner.run(_play(scene, empty_database_url, next(keys), steps, opened))

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        runner.run(stack.enter_async_context(served(empty_database_url, scene.registry)))
        try:
            play()
        finally:
            runner.run(stack.aclose())


async def _play(scene: Scene, url: str, first: int, steps: list[tuple[int, str]], opened: list[int]) -> None:
    """Write all steps while nothing ends, then let the keys go, one after the other."""
    written: dict[str, list[str]] = defaultdict(list)
    expected: list[tuple[str, str]] = []
    for number, (key, end) in enumerate(steps):
        one = (str(first + key), f"{number}")
        if (raising := ENDS[end]()) is not None:
            scene.raising[one] = raising
        if end != "skip":
            expected.append(one)
        written[one[0]].append(one[1])
        await put(url, first + key, one[1])
    for key in opened:
        scene.open(first + key)
    await scene.until(scene.ended, *expected, seconds=20)
    await parked(url)
    for which, names in written.items():
        begun = list(dict.fromkeys(name for k, name in scene.begun if k == which))
        assert begun == names
        ended = [name for k, name in scene.ended if k == which]
        assert ended == [name for k, name in expected if k == which]


async def test_what_this_worker_is_said_to_run_and_does_not_is_due(empty_database_url: str) -> None:
    """The commit of a batch took place, and its worker was told that it had not: the delivery was ended."""
    scene = Scene()
    scene.open(1)
    async with served(empty_database_url, scene.registry) as worker:
        await worker.until_ready()
        await put(empty_database_url, 1, "a")
        await scene.until(scene.ended, ("1", "a"))
        await execute(
            empty_database_url,
            "insert into hearken.parked (handler, event_id, topic, key, state, attempt, worker)"
            " select 'follow', id, topic, key, 'running', 0, %s from hearken.events",
            worker.app.doorbell.listener.worker,
        )
        await put(empty_database_url, 1, "b")
        await scene.until(scene.ended, ("1", "b"))
        await parked(empty_database_url)
    assert scene.ended == [("1", "a"), ("1", "a"), ("1", "b")]


async def test_flights_land_while_the_circuit_is_open(empty_database_url: str) -> None:
    """A destination that is down for new deliveries holds up no end of those that run."""
    scene = Scene()
    scene.raising["1", "a"] = Unavailable("down as well")
    scene.raising["2", "a"] = Unavailable("down", alarm=True)
    scene.open(2)
    async with served(empty_database_url, scene.registry) as worker:
        await put(empty_database_url, 1, "a")
        await parked(empty_database_url, ("1", "running", 0))
        await put(empty_database_url, 2, "a")
        await parked(empty_database_url, ("1", "running", 0), ("2", "due", 0))
        scene.open(1)
        await parked(empty_database_url, ("1", "due", 0), ("2", "due", 0))
        assert worker.app.consumers[0].circuit.open
