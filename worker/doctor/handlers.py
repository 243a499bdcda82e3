"""How each handler stands: enrolled, in the code, of this database, not paused, with no dead events, and moving."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from worker.declare.handler import of_engine
from worker.doctor.finding import Finding, fine, judged
from worker.doctor.patient import Patient
from worker.observe.status import HandlerStatus, read_status
from worker.telemetry.spans import span

# How many undelivered events are counted at most, per cursor.
COUNTED = 10_000


async def check_handlers(patient: Patient) -> list[Finding]:
    """A line for each handler of the code or of the tables; the engine's own only when something is wrong."""
    async with patient.connection() as connection:
        statuses = await read_status(connection, patient.registry.every_handler, most=COUNTED)
    stalled_after = patient.settings.stalled_after
    findings = []
    for name, group in groupby(sorted(statuses, key=lambda one: one.handler), key=lambda one: one.handler):
        shards = list(group)
        finding = judged(f"handler {name}", _summary(shards), list(_problems(name, shards, stalled_after)))
        if finding.state != "ok" or not of_engine(name):
            findings.append(finding)
    return findings or [fine("handlers", "none is declared: set HEARKEN_HANDLERS to the modules that declare them")]


def _summary(shards: list[HandlerStatus]) -> str:
    states = ", ".join(sorted({shard.state for shard in shards}))
    states = states.replace("nobody", "no worker runs it")
    behind = sum(shard.behind or 0 for shard in shards)
    return f"{states}; {_behind(shards)}" if behind else f"{states}; nothing undelivered"


def _behind(shards: list[HandlerStatus]) -> str:
    behind = sum(shard.behind or 0 for shard in shards)
    oldest = max((shard.oldest or 0.0 for shard in shards), default=0.0)
    return f"behind by {behind} events, the oldest is {span(oldest)} old"


def _problems(name: str, shards: list[HandlerStatus], stalled_after: float) -> Iterator[str]:
    if not all(shard.enrolled for shard in shards):
        yield "is in the code but has no cursor: run `hearken migrate`"
        return
    if not all(shard.declared for shard in shards):
        yield f"is in the database but not in the code: deploy it again, or run `hearken forget {name}`"
    if not all(shard.native for shard in shards):
        yield "its cursor is from another database (a restored dump?): run `hearken rebase`"
    if (differs := shards[0].differs) is not None:
        yield f"declared otherwise ({differs}), so workers step aside: run `hearken migrate` with the newer"
    if (seen := shards[0].braked) is not None:
        yield f"the brake has stopped it ({seen}): fix wrong rows, then `hearken resume {name} --confirm`"
    elif (reason := shards[0].paused) is not None:
        yield f"paused ({reason}): run `hearken resume {name}`"
    if dead := sum(shard.dead for shard in shards):
        yield f"{dead} dead events: `hearken dead list --handler {name}`"
    yield from _not_moving(shards, stalled_after)


def _not_moving(shards: list[HandlerStatus], stalled_after: float) -> Iterator[str]:
    if shards[0].paused is not None:
        return
    late = [s for s in shards if s.behind and min(s.oldest or 0.0, s.moved or 0.0) > stalled_after]
    if any(shard.behind and shard.state == "nobody" for shard in shards):
        yield f"{_behind(shards)}, and no worker runs it: start one (`hearken run`)"
    elif late:
        who = ", ".join(sorted({name for shard in late for name in shard.who})) or "its worker"
        yield f"not moving, {_behind(late)}: see /readyz of {who}"
