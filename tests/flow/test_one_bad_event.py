"""Promise 13: whatever one event holds, that event alone is parked or dead, and the others are delivered, once."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast

import psycopg
import pytest
from pydantic import BaseModel

from worker import Change, Context, Park, Retry, Skip, Snooze, Unavailable
from worker.declare.registry import Registry
from worker.deliver import settle as settling
from worker.log import rows
from worker.testing import Bench, bench

TABLES = """
create table docs (id int primary key, name text, doc json);
create table done (key text primary key)
"""
FULL_DISK = """
create function full_disk() returns trigger language plpgsql as $$
begin raise 'no space left on device' using errcode = 'disk_full'; end $$
"""
BAD = "13"
KEYS = [str(number) for number in range(1, 31)]


def any_of(value: object) -> Any:
    """The value, where its type is forbidden."""
    return cast(Any, value)


class Mute(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError


class Own(Retry):
    """An outcome with a field of its own that fails."""

    @property
    def after(self) -> float:
        raise KeyboardInterrupt

    @after.setter
    def after(self, value: float | None) -> None: ...


def _raise(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def _cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def _recurse() -> None:
    _recurse()


ODD: dict[str, Callable[[], object]] = {
    "NUL in a reason": _raise(Park("a\0b")),
    "half of a surrogate pair in a reason": _raise(Retry("a\ud800b")),
    "half of a surrogate pair in a message": _raise(ValueError("\udcff")),
    "no reason": _raise(Park(any_of(None))),
    "an exception for a reason": _raise(Retry(any_of(ValueError("x")))),
    "bytes for a reason": _raise(Skip(any_of(b"\xff"))),
    "an exception without a text": _raise(Mute()),
    "an outcome whose fields fail": _raise(Own("x")),
    "a reason without a text": _raise(Unavailable(any_of(Mute()))),
    "a message of 20 MB": _raise(ValueError("x" * 20_000_000)),
    "a time that is no number": _raise(Retry("x", after=math.nan)),
    "a time without end": _raise(Snooze(math.inf)),
    "a time beyond all calendars": _raise(Snooze(10**15)),
    "a wish beyond all calendars": _raise(Unavailable("x", after=1e15)),
    "recursion without end": _recurse,
    "an exit": _raise(SystemExit(3)),
    "its own cancellation": _cancel_itself,
    "a stranger's cancellation": _raise(asyncio.CancelledError()),
    "a returned value": lambda: "done",
}

external = Registry()
exact = Registry()
seen: Counter[str] = Counter()
doing: dict[str, Callable[[], object]] = {}


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()
    doing.clear()


async def _nothing() -> None: ...


async def _do(change: Change) -> object:
    key = str(change.key)
    seen[key] += 1
    result = doing[key]() if key in doing else None
    await asyncio.create_task(_nothing())  # where a cancellation strikes
    return result


@external.on("public.docs", batch=100, watch=("name",))
async def outside(change: Change, ctx: Context) -> object:
    """An external handler."""
    return await _do(change)


@exact.on("public.docs", batch=100, transactional=True)
async def inside(changes: Sequence[Change], ctx: Context) -> object:
    """A transactional handler."""
    results = []
    for change in changes:
        await ctx.transaction.execute("insert into done values (%s)", (change.key,))
        results.append(await _do(change))
    return next((result for result in results if result is not None), None)


async def _fill(stage: Bench) -> None:
    await stage.execute("insert into docs select i, 'x', '{}' from generate_series(1, 30) i")


@pytest.fixture
async def tables(empty_database_url: str) -> str:
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute(TABLES)
    return empty_database_url


async def _persevere(stage: Bench, tries: int = 20) -> int:
    """Deliver as a worker does, which goes on after a batch was rolled back; returns how many were."""
    for rolled_back in range(tries):
        try:
            await stage.drain()
        except Exception:
            continue
        return rolled_back
    pytest.fail(f"still rolled back after {tries} tries")


@pytest.mark.parametrize("kind", ODD)
async def test_odd_outcomes_of_an_external_handler(tables: str, kind: str) -> None:
    """The event is put aside or done with, in one batch, and all others are delivered once."""
    async with bench(tables, outside, declared=external) as stage:
        await _fill(stage)
        doing[BAD] = ODD[kind]
        await stage.drain()
        assert seen == Counter(KEYS)
        assert [row["key"] for row in await stage.parked()] == ([] if "bytes" in kind else [BAD])


@pytest.mark.parametrize("kind", ODD)
async def test_odd_outcomes_of_a_transactional_handler(tables: str, kind: str) -> None:
    """The event is put aside with its writes undone; what was written for the others is there exactly once."""
    async with bench(tables, inside, declared=exact) as stage:
        await _fill(stage)
        doing[BAD] = ODD[kind]
        await stage.drain()
        others = sorted(set(KEYS) - {BAD})
        assert [row["key"] for row in await stage.execute('select key from done order by key collate "C"')] == others
        assert [row["key"] for row in await stage.parked()] == ([] if "bytes" in kind else [BAD])


@pytest.mark.parametrize("attempt", [1024, 5000, 2**31 - 2, 2**31 - 1])
async def test_a_handler_may_fail_for_ever(tables: str, attempt: int) -> None:
    """Neither the delay nor the count of attempts ever overflows."""
    patient = Registry()
    patient.on("public.docs", attempts=10**12)(outside)
    doing[BAD] = _raise(ValueError("not yet"))
    async with bench(tables, outside, declared=patient) as stage:
        await _fill(stage)
        await stage.drain()
        await stage.execute("update hearken.parked set attempt = %s, due_at = now()", (attempt,))
        await stage.drain()
        (parked,) = await stage.parked()
        assert (parked["state"], parked["attempt"]) == ("due", min(attempt + 1, 2**31 - 1))


UNREADABLE = {
    "NUL": r'{"a": "\u0000"}',
    "a number beyond all": '{"a": 1e999999}',
    "a depth beyond all": '{"a": ' + "[" * 6_000 + "]" * 6_000 + "}",
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_what_the_log_holds_and_jsonb_does_not(tables: str, kind: str) -> None:
    """An update of a row with such a value ends delivered or dead; the others are delivered once, in any case."""
    async with bench(tables, outside, declared=external) as stage:
        await _fill(stage)
        await stage.drain()
        seen.clear()
        await stage.execute("update docs set doc = %s where id = 13", (UNREADABLE[kind],))
        await stage.drain()
        await stage.execute("update docs set doc = '{}', name = 'y'")
        assert await _persevere(stage) <= 1
        assert seen + Counter(row["key"] for row in await stage.parked()) == Counter(KEYS)
        assert all("cannot be read" in row["reason"] for row in await stage.parked())


async def test_the_brake_judges_a_window_with_an_odd_row(empty_database_url: str) -> None:
    """A row whose JSON cannot be looked into does not keep the brake from counting the others."""
    switched = Registry()
    switched.on("public.docs", active="active")(outside)
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute("create table docs (id int primary key, active boolean, doc json)")
    async with bench(empty_database_url, outside, declared=switched) as stage:
        await stage.execute("insert into docs select i, true, '{}' from generate_series(1, 100) i")
        await stage.drain()
        seen.clear()
        await stage.execute(
            "update docs set active = false, doc = case when id = 13 then %s else '{}' end::json where id <= 30",
            (UNREADABLE["NUL"],),
        )
        assert await _persevere(stage) == 0
        assert seen == Counter(KEYS)


@pytest.mark.parametrize("parked", [False, True])
async def test_a_row_that_cannot_be_fetched(tables: str, parked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails at reading, whatever the reason, is dead with that reason, be it new or put aside before."""
    fetch = rows._load

    async def failing(connection: Any, asked: Any) -> Any:
        if len(asked["ids"]) > 1:
            raise MemoryError
        found = await fetch(connection, asked)
        for _, new, _ in found.values():
            if '"bad"' in (new or ""):
                raise psycopg.errors.InternalError_("invalid memory alloc request size")
        return found

    async with bench(tables, outside, declared=external) as stage:
        await _fill(stage)
        await stage.drain()
        seen.clear()
        await stage.execute("update docs set name = case id when 13 then 'bad' else 'good' end, doc = %s", (LARGE,))
        if parked:
            doing.update(dict.fromkeys(KEYS, _raise(Retry("not now", after=60))))
            await stage.drain()
            await stage.execute("update hearken.parked set due_at = now()")
            doing.clear()
            seen.clear()
        monkeypatch.setattr(rows, "_load", failing)
        assert await _persevere(stage) == 1
        assert seen == Counter(set(KEYS) - {BAD})
        (dead,) = await stage.parked()
        assert (dead["key"], dead["state"]) == (BAD, "dead")
        assert dead["reason"].startswith("its rows cannot be read: InternalError")


LARGE = '{"a": "' + "".join(random.Random(1).choices("abcdefgh", k=200_000)) + '"}'


async def test_an_event_that_nobody_foresaw(tables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it at settling, it ends dead with what went wrong, and the others are delivered."""
    settle = settling.settle

    def failing(handler: Any, deliveries: Any, **more: Any) -> Any:
        if any(delivery.change.key == BAD and delivery.outcome is None for delivery in deliveries):
            raise LookupError("nobody foresaw this")
        return settle(handler, deliveries, **more)

    monkeypatch.setattr("worker.deliver.batch.settle", failing)
    async with bench(tables, outside, declared=external) as stage:
        await _fill(stage)
        assert await _persevere(stage) <= 6
        assert set(seen) == set(KEYS)
        (dead,) = await stage.parked()
        assert (dead["key"], dead["state"]) == (BAD, "dead")
        assert "its batch was rolled back" in dead["reason"]
        assert "LookupError" in dead["reason"]


@pytest.mark.parametrize("table", ["parked", "cursors"])
async def test_what_is_the_databases_own_is_nobodys_fault(tables: str, table: str) -> None:
    """With a full disk nothing is put aside, nor delivered until it can be recorded; then once."""
    async with bench(tables, outside, declared=external) as stage:
        await stage.execute(FULL_DISK)
        await stage.execute(
            f"create trigger full_disk before insert on hearken.{table} for each row execute function full_disk()"
        )
        await _fill(stage)
        doing[BAD] = _raise(Park("bad"))
        for _ in range(6):
            with pytest.raises(psycopg.errors.DiskFull):
                await stage.drain()
        assert seen == Counter()
        assert await stage.parked() == []
        await stage.execute(f"drop trigger full_disk on hearken.{table}")
        await stage.drain()
        assert seen == Counter(KEYS)
        assert [row["key"] for row in await stage.parked()] == [BAD]


class Ask(BaseModel):
    """What is asked."""

    name: str


class Failing(BaseModel):
    """A result whose own code fails."""

    name: str

    def model_dump(self, **_: object) -> dict[str, object]:
        raise SystemExit(3)


def _circle() -> object:
    circle: list[object] = []
    circle.append(circle)
    return circle


def _without_end() -> object:
    while True:
        yield 1


RESULTS: dict[str, tuple[object, str]] = {
    "NaN": (math.nan, "dead"),
    "infinity": ({"rate": math.inf}, "dead"),
    "half of a surrogate pair": ({"a": "\ud800"}, "dead"),
    "NUL": ({"a": "\0"}, "succeeded"),
    "a Decimal that is none": (Decimal("NaN"), "succeeded"),
    "bytes": (b"\xff", "dead"),
    "a circle": (_circle(), "dead"),
    "a number of 5,000 digits": (10**5000, "dead"),
    "a generator without end": (_without_end(), "dead"),
    "2 MB": ("x" * 2_000_000, "dead"),
    "an object": (object(), "dead"),
}
asked = Registry()
returned: list[object] = []


@asked.endpoint("ask", path="/api/ask", body=Ask)
async def answer(request: Change, ctx: Context) -> object:
    """Report odd progress, and return something."""
    await ctx.progress(request, 1, 1, "a\0\ud800")
    return returned[-1]


@pytest.mark.parametrize("kind", RESULTS)
async def test_odd_results_of_a_run(empty_database_url: str, kind: str) -> None:
    """A result that is no JSON ends the run dead with a reason; what can be kept can be read again."""
    returned[:], state = [RESULTS[kind][0]], RESULTS[kind][1]
    async with bench(empty_database_url, answer, declared=asked) as stage:
        run = await stage.request("ask", {"name": "x"})
        assert run.state == state, run.error
        assert run.progress == {"done": 1, "total": 1, "text": "a\\x00\\ud800"}
        if state == "dead":
            assert run.error is not None
            assert run.error.startswith("returned ")


@external.on("public.docs")
async def ledger(change: Change, ctx: Context) -> None:
    """Writes outside, and is told odd things."""
    async with ctx.effect(change, "thing\0.create", {"name": "\ud800", "rate": math.nan}) as effect:
        changed = {"a\0": [math.nan, "\ud800"], "b": [b"\xff", _circle()]}
        effect.done(object_id="x\0", request_id="\ud800", changed=changed)


async def test_odd_effects_are_in_the_ledger(empty_database_url: str) -> None:
    """Whatever a destination answers, and however long a key is: the effect is done, and the ledger says so."""
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as connection:
        await connection.execute("create table docs (id text primary key)")
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=2_600))
    async with bench(empty_database_url, ledger, declared=external) as stage:
        for key in ("plain", "zürich", "two\nlines", long):
            await stage.execute("insert into docs values (%s)", (key,))
        await stage.drain()
        assert await stage.parked() == []
        effects = await stage.execute("select state, object_id, base from hearken.effects")
        assert [(effect["state"], effect["object_id"]) for effect in effects] == [("done", "x\\x00")] * 4
        assert all(e["base"].isascii() and e["base"].isprintable() and len(e["base"]) < 250 for e in effects)
