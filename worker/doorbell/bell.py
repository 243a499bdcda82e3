"""What wakes a sleeping consumer: a NOTIFY that writers send only while someone sleeps, and no wake-up lost.

    clear the bell → take the topic's advisory lock, shared → look at the log once more → wait

A writer's trigger that finds the lock taken notifies. One that ran before the lock was taken did not, but then its
transaction is still open to a look after the lock, or is seen in the log: while one is open, this polls for its end,
and wakes whoever sleeps on the topics whose locks it may have missed.
Otherwise nothing is polled, except on a server where transactions can be prepared (`silent`): there writers do not
notify, and a sleeper looks twice a second.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import LiteralString

from worker.doorbell.listener import LOST, Listener
from worker.postgres.database import Database
from worker.postgres.locks import channel_of, topic_lock

# Where transactions can be prepared, triggers do not notify: nobody may prepare one that has.
SLEEP: LiteralString = """
select hearken.fall_asleep(%s) as open,
       current_setting('max_prepared_transactions') <> '0'
       and coalesce(current_setting('hearken.two_phase', true), '') <> 'off' as silent
"""
UNLOCK: LiteralString = "select pg_advisory_unlock_shared(k) from unnest(%s::bigint[]) k"
OPEN: LiteralString = "select hearken.fall_asleep('{}') as open"

# Longest sleep when nothing can wake us (a pooler, no connection, prepared transactions), in seconds.
POLL = 0.5
# How often to look whether a transaction that was open when the lock was taken has ended, in seconds. The interval
# grows with its age: who has been open for a minute can wait a second.
FIRST_LOOK = 0.005
LATER_LOOK = 0.02
SHARE_OF_AGE = 1 / 60
LONGEST_LOOK = 1.0


class Sleep:
    """One sleeping consumer, from when its bell is set up until it leaves."""

    def __init__(self, doorbell: Doorbell, topics: Sequence[str], bell: asyncio.Event) -> None:
        self.heard = False
        self._doorbell = doorbell
        self._topics = topics
        self._bell = bell
        self._left = False
        doorbell.enter(topics, bell)

    @property
    def patience(self) -> float:
        """Seconds one may sleep at most."""
        return math.inf if self.heard and not self._doorbell.silent else POLL

    @property
    def unbroken(self) -> bool:
        """Whether every commit since the beginning has rung the bell, so that there is nothing else to look at."""
        return self.heard and not self._left and not self._doorbell.silent and self._doorbell.shows(self._topics)

    def leave(self) -> None:
        """Show writers that they need not notify any more."""
        if not self._left:
            self._left = True
            self._doorbell.leave(self._topics, self._bell)


class Doorbell:
    """The bells of this process's consumers, and the locks that show writers who sleeps."""

    def __init__(self, database: Database, topics: Iterable[str], *, check_every: float) -> None:
        self._topics = {channel_of(topic): topic for topic in topics}
        self.silent = False
        self.listener = Listener(database, self._topics, self._ring, self._ring_all, check_every=check_every)
        self._sleepers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._wanted: Counter[str] = Counter()
        self._locked: set[str] = set()
        self._locking = asyncio.Lock()
        self._open: dict[str, set[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            await self.listener.run()
        finally:
            for task in self._tasks.values():
                task.cancel()

    @asynccontextmanager
    async def asleep(self, topics: Sequence[str], bell: asyncio.Event) -> AsyncIterator[Sleep]:
        """While inside, and until `leave`, a commit on one of the topics sets `bell`.

        The caller clears the bell before, looks at the log inside, and only then waits.
        """
        sleep = Sleep(self, topics, bell)
        try:
            sleep.heard = await self._lock(topics)
            yield sleep
        finally:
            sleep.leave()

    def enter(self, topics: Sequence[str], bell: asyncio.Event) -> None:
        """Ring `bell` for these topics from now on."""
        self._wanted.update(topics)
        for topic in topics:
            self._sleepers[topic].add(bell)

    def leave(self, topics: Sequence[str], bell: asyncio.Event) -> None:
        """Stop ringing it; release the locks that nobody needs any more."""
        self._wanted.subtract(topics)
        for topic in topics:
            self._sleepers[topic].discard(bell)
        self._run_once("unlock", self._unlock)

    def shows(self, topics: Sequence[str]) -> bool:
        """Whether writers on all these topics can see that someone sleeps."""
        return self.listener.state == "listening" and self._locked.issuperset(topics)

    def _ring(self, channel: str) -> None:
        self._ring_topic(self._topics[channel])

    def _ring_topic(self, topic: str) -> None:
        for bell in self._sleepers[topic]:
            bell.set()

    def _ring_all(self) -> None:
        """Wake everybody, who will look again: the connection and with it the locks may be gone."""
        if self.listener.state != "listening":
            self._locked.clear()
            self._open.clear()
        for topic in self._sleepers:
            self._ring_topic(topic)

    async def _lock(self, topics: Sequence[str]) -> bool:
        """Show writers that someone sleeps; False when no NOTIFY would reach us."""
        if self.listener.state != "listening":
            return False
        try:
            async with self._locking:
                if missing := [topic for topic in topics if topic not in self._locked]:
                    rows = await self.listener.execute(SLEEP, ([topic_lock(topic) for topic in missing],))
                    self._locked.update(missing)
                    self.silent = rows[0]["silent"]
                    if rows[0]["open"]:
                        self._open.update({topic: set(rows[0]["open"]) for topic in missing})
        except LOST:
            return False
        if self._open:
            self._run_once("watch", self._watch_open)
        return self.listener.state == "listening"

    async def _unlock(self) -> None:
        """Release the locks of topics nobody sleeps on any more, so that their writers need not notify."""
        async with self._locking:
            if idle := [topic for topic in self._locked if not self._wanted[topic]]:
                try:
                    await self.listener.execute(UNLOCK, ([topic_lock(topic) for topic in idle],))
                except LOST:
                    return  # the locks went with the connection, and `_ring_all` forgets them
                self._locked.difference_update(idle)
                for topic in idle:
                    self._open.pop(topic, None)

    async def _look(self) -> set[str]:
        rows = await self.listener.execute(OPEN)
        return set(rows[0]["open"])

    async def _watch_open(self) -> None:
        """Wake a topic's sleepers whenever a transaction ends that was open when its lock was taken, until none is."""
        loop = asyncio.get_running_loop()
        started, pause = loop.time(), FIRST_LOOK
        while self._open:
            await asyncio.sleep(pause)
            try:
                before = {topic: set(opened) for topic, opened in self._open.items()}
                now = await self._look()
            except LOST:
                return
            if self._forget_ended({topic: opened - now for topic, opened in before.items()}):
                started, pause = loop.time(), FIRST_LOOK
            pause = max(min(pause * 1.5, LATER_LOOK), min((loop.time() - started) * SHARE_OF_AGE, LONGEST_LOOK))

    def _forget_ended(self, ended: Mapping[str, set[str]]) -> bool:
        """These transactions have ended: wake the topics' sleepers. Returns whether there were any."""
        for topic in (topic for topic, gone in ended.items() if gone):
            self._ring_topic(topic)
            if topic in self._open:
                self._open[topic] -= ended[topic]
                if not self._open[topic]:
                    del self._open[topic]
        return any(ended.values())

    def _run_once(self, name: str, job: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run the job beside us, unless it is running already."""
        running = self._tasks.get(name)
        if running is None or running.done():
            self._tasks[name] = asyncio.create_task(job())
