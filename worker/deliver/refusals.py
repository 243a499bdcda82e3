"""Events that are put aside undelivered: their rows cannot be read, or they are what rolls every batch back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from worker.change import Change, Identity
from worker.deliver.call import Delivery
from worker.outcomes import Park
from worker.telemetry.error_line import error_line


def refused(unreadable: Mapping[int, Exception]) -> dict[int, Park]:
    """What each event is put aside with whose rows cannot be read."""
    return {event_id: Park(f"its rows cannot be read: {error_line(error)}") for event_id, error in unreadable.items()}


def without_refused(
    changes: Sequence[Change], refused: Mapping[int, Park], also: Callable[[int], Park | None]
) -> tuple[list[Change], list[Delivery]]:
    """Those that are neither refused nor behind a refused one of their key; and the others, as they end."""
    ready: list[Change] = []
    aside: list[Delivery] = []
    blocked: set[Identity] = set()
    for change in changes:
        why = refused.get(change.id) or also(change.id)
        if why is None and change.identity not in blocked:
            ready.append(change)
            continue
        aside.append(Delivery(change, attempted=False) if why is None else Delivery(change, why))
        blocked.add(change.identity)
    return ready, aside
