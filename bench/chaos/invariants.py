"""What must hold once the load has ended and all is healed. Each that does not is a sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

from bench.chaos.sink import Sink
from bench.chaos.systems import DISAGREEING, drift
from tests.support.things import connect
from tests.support.waiting import eventually
from tests.support.writing import Events, truth

LEFT: LiteralString = """
select (select count(*) from truth) + (select count(*) from parcels) - (select count(*) from ledger)
"""
LEDGER: LiteralString = "select topic, key, op, version, event from ledger order by event"
PARKED: LiteralString = "select handler, event_id, state, attempt, coalesce(reason, '') from hearken.parked"
CALM_SECONDS = 90


async def violations(url: str, sink: Sink, environment: dict[str, str], unasked: Iterable[int]) -> list[str]:
    """Wait until everything is delivered, for a while, and compare."""
    found = [f"a worker ended by itself, or badly, with {code}" for code in unasked]
    try:
        await eventually(lambda: _left(url, sink), "end of the backlog", CALM_SECONDS, fits=lambda left: not any(left))
    except AssertionError as late:
        found.append(f"(ledger, sink, parked, sessions): {late}")
    wanted = await _wanted(url)
    async with await connect(url) as connection:
        ledger = await (await connection.execute(LEDGER)).fetchall()
        (total,) = await (await connection.execute("select events from ledger_total")).fetchone() or (None,)
        parked = await (await connection.execute(PARKED)).fetchall()
    found += await drift(url, environment)
    found += [f"parked: {row}" for row in parked[:5]]
    if total != len(ledger):
        found.append(f"the ledger has {len(ledger)} rows, its total says {total}")
    found += compare("ledger", _by_key(ledger), wanted)
    return found + compare("sink", first_orders(await sink.orders()), wanted)


async def _left(url: str, sink: Sink) -> tuple[int, int, int, int]:
    async with await connect(url) as connection:
        (ledger,) = await (await connection.execute(LEFT)).fetchone() or (0,)
        (parked,) = await (await connection.execute("select count(*) from hearken.parked")).fetchone() or (0,)
        (disagreeing,) = await (await connection.execute(DISAGREEING)).fetchone() or (0,)
        (events,) = await (await connection.execute("select count(*) from ledger")).fetchone() or (0,)
    return ledger, events - await sink.events(), parked, disagreeing


async def _wanted(url: str) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """What was committed of each key, in order."""
    history: Events = await truth(url)
    wanted = {("public.things", key): events for key, events in history.items()}
    async with await connect(url) as connection:
        for (key,) in await (await connection.execute("select id::text from parcels")).fetchall():
            wanted["public.parcels", key] = [("insert", 1)]
    return wanted


def _by_key(rows: Iterable[tuple[Any, ...]]) -> Mapping[tuple[str, str], list[tuple[str, int]]]:
    found: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for topic, key, op, version, _ in rows:
        found[topic, key].append((op, version))
    return found


def first_orders(orders: Iterable[Mapping[str, Any]]) -> Mapping[tuple[str, str], list[tuple[str, int]]]:
    """The first order of each event, in the order in which they came."""
    seen: set[int] = set()
    firsts = []
    for order in orders:
        if order["event"] not in seen:
            seen.add(order["event"])
            firsts.append((order["topic"], order["key"], order["op"], order["version"], order["event"]))
    return _by_key(firsts)


def compare(
    where: str,
    got: Mapping[tuple[str, str], list[tuple[str, int]]],
    wanted: Mapping[tuple[str, str], list[tuple[str, int]]],
) -> list[str]:
    """The first few keys that differ: what is lost, there twice, or out of order."""
    keys = [key for key in sorted({*got, *wanted}) if got.get(key, []) != wanted.get(key, [])]
    return [
        f"{where} of {key}: {len(got.get(key, []))} events where {len(wanted.get(key, []))} were committed,"
        f" different from number {_first_difference(got.get(key, []), wanted.get(key, []))}"
        for key in keys[:5]
    ]


def _first_difference(got: list[tuple[str, int]], wanted: list[tuple[str, int]]) -> int:
    return next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
