"""What handlers would do outside if events were replayed: each is really called, with a context that only plans.

Nothing can be written: the connections are read-only (`Database`), effects are refused (`Context.effect`), and clients
of outside systems refuse to write over a read-only database. What a handler looks at is real, so its plan is too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from worker.change import Change
from worker.declare.handler import Handler
from worker.deliver.context import Context, Services
from worker.deliver.plan import NOTHING, Plan, Planned
from worker.deliver.verdict import verdict
from worker.errors import CheckFailed, ConfigurationError, UsageError
from worker.operate.events import Event, Filter, find_events
from worker.outcomes import Outcome, Park, Skip, Unavailable
from worker.telemetry.error_line import error_line

DEAD = "dead"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Preview:
    """What a handler would do for one key.

    action   the handler's word ("create", "update", …), "nothing", "dead" (it would wait for a person), or
             "unknown", with the `reason`
    effects  the writes it would make, in order
    """

    handler: str
    topic: str
    key: str | None
    event_id: int
    action: str
    effects: Sequence[Planned]
    reason: str | None = None


def check_previewable(handlers: Iterable[Handler]) -> None:
    """Raises UsageError for handlers that cannot say what they would do."""
    if unable := [handler.name for handler in handlers if not handler.plans]:
        raise UsageError(
            f"{', '.join(unable)} cannot be previewed: declare handlers that check ctx.planning with @on(…, plans=True)"
        )


async def preview(handler: Handler, topic: str, ids: Iterable[int], services: Services) -> AsyncIterator[Preview]:
    """What the handler would do for each of these events, in their order.

    ids       one event for each key, the newest: what counts for a level-triggered handler
    services  over a read-only database, with the topic's table
    Raises CheckFailed when the destination is unreachable, ConfigurationError without the settings of what it uses.
    """
    left = iter(ids)
    while some := list(islice(left, handler.concurrency)):
        async with services.database.engine.connection() as connection:
            events = await find_events(connection, Filter([topic], some), limit=len(some), rows=True)
        for found in await asyncio.gather(*(_preview_one(handler, event, services) for event in events)):
            yield found


async def _preview_one(handler: Handler, event: Event, services: Services) -> Preview:
    change = _again(event)
    plan = Plan()
    action, reason = None, None
    try:
        async with asyncio.timeout(handler.timeout):
            await handler.function(change, Context(handler.name, services, plan=plan))
    except Outcome as raised:
        outcome = verdict(raised)
        action, reason = _action(handler, outcome), outcome.reason
    except ConfigurationError:  # of a resource that it uses: the same for every key
        raise
    except Exception as error:
        action, reason = UNKNOWN, error_line(error)
    return Preview(handler.name, change.topic, change.key, change.id, action or plan.action, plan.effects, reason)


def _action(handler: Handler, outcome: Outcome) -> str:
    if isinstance(outcome, Unavailable):
        raise CheckFailed(f"{handler.name} cannot say what it would do: {outcome.reason}")
    if isinstance(outcome, Skip):
        return NOTHING
    return DEAD if isinstance(outcome, Park) else UNKNOWN


def _again(event: Event) -> Change:
    """The event as a replay of it would be delivered."""
    return Change(
        id=event.id,
        at=event.at,
        topic=event.topic,
        op=event.op,
        key=event.key,
        replay_of=event.id,
        old_json=event.old_json,
        new_json=event.new_json,
        note_json=event.note_json,
    )
