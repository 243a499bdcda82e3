"""How a handler stands: moving, waiting for good reason, or stuck. For `health`.

Its consumers say when they last moved. One that has not for a while is only stuck if it is behind, which is asked of
the database then and not before; nor is another worker's cursor ours to judge from here, so there it is asked too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from worker.declare.handler import Handler
from worker.deliver.consumer import Consumer
from worker.deliver.progress import Turn
from worker.errors import CheckFailed
from worker.observe.status import HandlerStatus

# So many batches rolled back in a row are no accident.
SEVERAL = 3

STATES = {
    None: "starting",
    Turn.WORKED: "working",
    Turn.CAUGHT_UP: "idle",
    Turn.IDLE: "idle",
    Turn.ELSEWHERE: "another worker has it",
    Turn.PAUSED: "paused",
    Turn.FULL: "working",
    Turn.ASIDE: "stepping aside",
}


def state_of(consumer: Consumer) -> str:
    """What a consumer does, in a word or two."""
    if consumer.progress.trouble is not None:
        return "in trouble"
    return "circuit open" if consumer.circuit.open else STATES[consumer.progress.turn]


def unmoved(consumer: Consumer, stalled_after: float) -> bool:
    """Whether only the database can say if all is well."""
    if consumer.progress.turn in (Turn.ELSEWHERE, Turn.PAUSED):
        return True
    return max(_quiet(consumer), consumer.circuit.open_for()) > stalled_after


def judge_alone(consumer: Consumer, stalled_after: float) -> None:
    """What can be said without the database. Raises CheckFailed."""
    circuit, trouble = consumer.circuit, consumer.progress.trouble
    if circuit.open and circuit.alarm:
        raise CheckFailed(f"stopped until a person fixes it: {circuit.reason}")
    if consumer.progress.rollbacks >= SEVERAL:
        raise CheckFailed(f"every batch has been rolled back, {consumer.progress.rollbacks} times in a row: {trouble}")
    if (aside := consumer.progress.aside) is not None:
        raise CheckFailed(f"stepping aside: {aside}")
    if trouble is not None and _quiet(consumer) > stalled_after:
        raise CheckFailed(f"every batch has been rolled back for {_quiet(consumer):.0f} s: {trouble}")


def judge_status(consumer: Consumer, status: HandlerStatus, stalled_after: float) -> str:
    """What the database adds: returns what is fine. Raises CheckFailed."""
    if not status.native:
        raise CheckFailed("its cursor is from another database: run `hearken rebase`")
    if status.differs is not None:
        raise CheckFailed(f"declared otherwise ({status.differs}): run `hearken migrate` with the newer code")
    if status.braked is not None:
        raise CheckFailed(
            f"braked: {status.braked}; fix the rows if they are wrong, then run"
            f" `hearken resume {status.handler} --confirm`"
        )
    if status.paused is not None:
        return f"paused: {status.paused}"
    circuit = consumer.circuit
    behind = f"behind by {status.behind} events, and {status.due + status.held} parked"
    if circuit.open_for() > stalled_after and (status.behind or status.due or status.held):
        raise CheckFailed(f"destination unavailable for {circuit.open_for():.0f} s ({circuit.reason}), {behind}")
    elsewhere = consumer.progress.turn is Turn.ELSEWHERE
    # Another worker that catches up with parked events moves no cursor: what is overdue is judged where it is run.
    quiet = (status.moved or 0.0) if elsewhere else _quiet(consumer)
    waiting = max(status.oldest or 0.0, 0.0 if elsewhere else status.overdue or 0.0)
    if min(quiet, waiting) > stalled_after and not circuit.open:
        whose = " in another worker" if elsewhere else ""
        raise CheckFailed(f"not moving{whose}: {behind}, waiting for {waiting:.0f} s")
    return state_of(consumer)


def judge_schedules(handlers: Mapping[str, Handler], statuses: Sequence[HandlerStatus], stalled_after: float) -> str:
    """Whether the ticks of these handlers come; returns what is fine. Raises CheckFailed."""
    scheduled = [status for status in statuses if status.handler in handlers and handlers[status.handler].schedule]
    known = [(status.next_due, status) for status in scheduled if status.next_due is not None]
    if unknown := sorted({name for name, h in handlers.items() if h.schedule} - {s.handler for _, s in known}):
        raise CheckFailed(f"not known when {', '.join(unknown)} is due: run `hearken migrate`, and see the log")
    if late := [f"{s.handler} was due {due:%Y-%m-%d %H:%M} UTC" for due, s in known if s.late > stalled_after]:
        raise CheckFailed(f"no tick was appended: {'; '.join(late)}; see the workers' log for why")
    due, first = min(known, key=lambda one: one[0])
    state = f"{owed} owed" if (owed := sum(s.late > 0 for _, s in known)) else "on time"
    return f"{state}, next {first.handler} at {due:%Y-%m-%d %H:%M} UTC"


def summary(consumers: Sequence[Consumer]) -> str:
    """The states of a handler's consumers (its shards), each once."""
    return ", ".join(sorted({_described(consumer) for consumer in consumers}))


def _described(consumer: Consumer) -> str:
    circuit, trouble = consumer.circuit, consumer.progress.trouble
    if trouble is not None:
        return f"in trouble: {trouble}"
    return f"circuit open: {circuit.reason}" if circuit.open else state_of(consumer)


def _quiet(consumer: Consumer) -> float:
    """Seconds since it last moved."""
    return time.monotonic() - consumer.progress.moved_at
