"""What becomes of an event by what its handler says, through the real log on a real database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest
from psycopg import OperationalError

from worker import Change, Context, Park, Retry, Skip, Snooze, Unavailable
from worker.declare.registry import Registry
from worker.testing import Bench, bench

ITEMS = "create table items (id int primary key, name text, price numeric)"
registry = Registry()
seen: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
raising: dict[str, BaseException | object] = {}


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()
    raising.clear()


async def _note(handler: str, change: Change) -> object:
    seen[handler].append((change.attempt, change.key or ""))
    outcome = raising.get(change.key or "")
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@registry.on("public.items", attempts=3)
async def orderly(change: Change, ctx: Context) -> None:
    """External, every event counts."""
    await _note("orderly", change)


@registry.on("public.items", fold=True, attempts=3)
async def level(change: Change, ctx: Context) -> None:
    """External, level-triggered."""
    await _note("level", change)


@registry.on("public.items")
async def returning(change: Change, ctx: Context) -> object:
    """Returns what it should not."""
    return await _note("returning", change)


@registry.on("public.items", transactional=True)
async def mirror(changes: Sequence[Change], ctx: Context) -> None:
    """Transactional: writes a row per event, and then may fail."""
    for change in changes:
        await ctx.transaction.execute("insert into mirror values (%s, %s)", (change.id, change.key))
        await _note("mirror", change)


async def _fill(stage: Bench, *keys: int) -> None:
    for key in keys:
        await stage.execute("insert into items values (%s, 'x', 1)", (key,))


async def _due_now(stage: Bench) -> None:
    await stage.execute("update hearken.parked set due_at = now() where state = 'due'")


async def _states(stage: Bench) -> list[tuple[str, str, int]]:
    return [(row["key"], row["state"], row["attempt"]) for row in await stage.parked()]


@pytest.fixture
async def tables(empty_database_url: str) -> str:
    import psycopg

    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute(ITEMS)
        await connection.execute("create table mirror (event_id bigint primary key, key text)")
    return empty_database_url


async def test_a_failing_key_is_parked_and_never_blocks_another(tables: str) -> None:
    """Key 1 fails; keys 2 and 3 are delivered all the same, and key 1 is due later with one attempt used."""
    raising["1"] = RuntimeError("boom")
    async with bench(tables, orderly, declared=registry) as stage:
        await _fill(stage, 1, 2, 3)
        await stage.drain()
        assert sorted(seen["orderly"]) == [(1, "1"), (1, "2"), (1, "3")]
        (parked,) = await stage.parked()
        assert (parked["state"], parked["attempt"], parked["reason"]) == ("due", 1, "RuntimeError")
        assert "boom" in parked["error"]


async def test_later_events_of_a_failing_key_wait_and_then_run_in_order(tables: str) -> None:
    """Events of a key are held behind its parked one, and all are delivered in commit order once it succeeds."""
    raising["1"] = Retry("not yet")
    async with bench(tables, orderly, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.drain()
        for name in ("a", "b"):
            await stage.execute("update items set name = %s where id = 1", (name,))
        await stage.drain()
        assert await _states(stage) == [("1", "due", 1), ("1", "held", 0), ("1", "held", 0)]
        raising.clear()
        await _due_now(stage)
        await stage.drain()
        assert seen["orderly"] == [(1, "1"), (2, "1"), (1, "1"), (1, "1")]
        assert await stage.parked() == []


async def test_used_up_attempts_end_dead_with_a_reason(tables: str) -> None:
    """After the third of three attempts the event is dead and says why; what follows of its key stays held."""
    raising["1"] = Retry("the shop is shut")
    async with bench(tables, orderly, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.execute("update items set name = 'later'")
        for _ in range(4):
            await stage.drain()
            await _due_now(stage)
        dead, held = await stage.parked()
        assert (dead["state"], dead["attempt"], held["state"]) == ("dead", 3, "held")
        assert dead["reason"] == "the shop is shut (attempt 3 of 3)"


async def test_a_newer_event_takes_the_place_of_a_parked_one_when_level_triggered(tables: str) -> None:
    """With fold=True a new event of a parked key is delivered at once, and the parked one is dropped."""
    raising["1"] = Park("no price")
    async with bench(tables, level, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.drain()
        assert await _states(stage) == [("1", "dead", 1)]
        raising.clear()
        await stage.execute("update items set price = 2")
        await stage.drain()
        assert await stage.parked() == []
        assert seen["level"] == [(1, "1"), (1, "1")]


async def test_folding_calls_once_per_key_with_the_newest(tables: str) -> None:
    """A batch with many events of one key calls a level-triggered handler once."""
    async with bench(tables, level, declared=registry) as stage:
        await _fill(stage, 1, 2)
        for i in range(5):
            await stage.execute("update items set price = %s where id = 1", (i + 2,))
        await stage.drain()
        assert seen["level"] == [(1, "2"), (1, "1")]


@pytest.mark.parametrize(
    ("outcome", "state", "attempt"),
    [
        (Snooze(60), "due", 0),
        (Retry("later", after=60), "due", 1),
        (Park("cannot be"), "dead", 1),
        (Unavailable("down"), "due", 1),
        (SystemExit(3), "due", 1),
        (KeyboardInterrupt(), "due", 1),
    ],
)
async def test_each_outcome_settles_as_it_says(tables: str, outcome: BaseException, state: str, attempt: int) -> None:
    """Snooze uses no attempt, Retry one, Park ends it; not even SystemExit ends the worker."""
    raising["1"] = outcome
    async with bench(tables, orderly, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.drain()
        assert await _states(stage) == [("1", state, attempt)]


async def test_skip_is_done(tables: str) -> None:
    """Skip leaves nothing behind, and the key goes on."""
    raising["1"] = Skip("not ours")
    async with bench(tables, orderly, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.drain()
        assert await stage.parked() == []


async def test_a_handler_that_returns_something_is_told_so(tables: str) -> None:
    """A returned value is no outcome: the event is dead, and its reason says what to do."""
    raising["1"] = {"ok": True}
    async with bench(tables, returning, declared=registry) as stage:
        await _fill(stage, 1)
        await stage.drain()
        (dead,) = await stage.parked()
        assert dead["state"] == "dead"
        assert dead["reason"] == "returned a dict: a handler returns None, or raises an outcome"


async def test_a_transactional_batch_keeps_everything_but_the_bad_event(tables: str) -> None:
    """One bad event of a batch is parked and its writes undone; the others' effects are there exactly once."""
    raising["2"] = ValueError("bad")
    async with bench(tables, mirror, declared=registry) as stage:
        await _fill(stage, 1, 2, 3)
        await stage.drain()
        rows = await stage.execute("select key from mirror order by key")
        assert [row["key"] for row in rows] == ["1", "3"]
        assert await _states(stage) == [("2", "due", 1)]
        raising.clear()
        await _due_now(stage)
        await stage.drain()
        rows = await stage.execute("select key from mirror order by key")
        assert [row["key"] for row in rows] == ["1", "2", "3"]


async def test_a_database_error_that_a_handler_swallows_is_a_failed_attempt(tables: str) -> None:
    """A transaction left broken by a handler that caught the error is found out, and only that event is parked."""
    swallowing = Registry()

    @swallowing.on("public.items", transactional=True)
    async def careless(changes: Sequence[Change], ctx: Context) -> None:
        for change in changes:
            try:
                await ctx.transaction.execute("select 1 / %s", (0 if change.key == "2" else 1,))
            except Exception:
                seen["careless"].append((0, change.key or ""))

    async with bench(tables, careless, declared=swallowing) as stage:
        await _fill(stage, 1, 2, 3)
        await stage.drain()
        assert await _states(stage) == [("2", "due", 1)]


async def test_a_deferred_constraint_fails_on_its_own_event(tables: str) -> None:
    """A deferred foreign key is checked per event, so it cannot fail everyone's commit."""
    deferring = Registry()

    @deferring.on("public.items", transactional=True)
    async def link(changes: Sequence[Change], ctx: Context) -> None:
        for change in changes:
            await ctx.transaction.execute("insert into links values (%s)", (change.key,))

    async with bench(tables, link, declared=deferring) as stage:
        await stage.execute("create table targets (id int primary key)")
        await stage.execute("insert into targets values (1)")
        await stage.execute("create table links (id int references targets deferrable initially deferred)")
        await _fill(stage, 1, 2)
        await stage.drain()
        assert await _states(stage) == [("2", "due", 1)]
        assert await stage.execute("select id from links") == [{"id": 1}]


async def test_a_handler_gets_no_events_for_its_own_writes(tables: str) -> None:
    """What a handler writes, on its own connection or in its batch's transaction, does not come back to it."""
    looping = Registry()

    @looping.on("public.items", watch=("price",))
    async def outer(change: Change, ctx: Context) -> None:
        seen["outer"].append((change.attempt, change.op))
        async with ctx.connection() as connection:
            await connection.execute("update items set price = price + 1")

    @looping.on("public.items", watch=("name",), transactional=True)
    async def inner(changes: Sequence[Change], ctx: Context) -> None:
        seen["inner"] += [(change.attempt, change.op) for change in changes]
        await ctx.transaction.execute("update items set name = name || '!'")

    async with bench(tables, outer, inner, declared=looping) as stage:
        await _fill(stage, 1)
        for _ in range(3):
            await stage.drain()
        assert seen == {"outer": [(1, "insert")], "inner": [(1, "insert")]}
        rows = await stage.execute("select op, origin from hearken.events order by id")
        assert [(row["op"], row["origin"]) for row in rows] == [
            ("insert", None),
            ("update", "outer"),
            ("update", "inner"),
        ]


async def test_who_has_lost_the_claim_writes_nothing_outside(tables: str) -> None:
    """When the batch's connection is gone another worker may have its key: an effect is refused, and comes again."""
    fenced = Registry()
    written: list[int] = []
    cut: list[int] = []

    @fenced.on("public.items")
    async def outside(change: Change, ctx: Context) -> None:
        if not cut:
            async with ctx.connection() as connection:
                rows = await connection.execute(
                    "select pg_terminate_backend(pid, 5000) as done from pg_locks"
                    " where locktype = 'advisory' and database = (select oid from pg_database"
                    " where datname = current_database())"
                )
                cut.append(len(await rows.fetchall()))
        async with ctx.effect(change, "thing.create", {"name": "x"}) as effect:
            written.append(change.id)
            effect.done()

    async with bench(tables, outside, declared=fenced) as stage:
        await _fill(stage, 1)
        with pytest.raises(OperationalError):
            await stage.drain()
        assert (cut, written) == ([1], [])
        await stage.drain()
        assert len(written) == 1
        assert await stage.parked() == []
