"""The canary's receiving end: the engine's own handler, which records in a worker's row that its beat arrived.

It is declared, enrolled and run like any other, by whichever worker is first: that is what makes it a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, LiteralString

from worker.declare.handler import Handler, Subscription

if TYPE_CHECKING:
    from worker.change import Change
    from worker.deliver.context import Context

TOPIC = "hearken.canary"
RETURN: LiteralString = """
update hearken.canary c set returned = b.sent, returned_at = clock_timestamp()
from unnest(%s::text[], %s::bigint[]) b (worker, sent) where c.worker = b.worker and c.returned < b.sent
"""


async def give_back(changes: Sequence[Change], ctx: Context) -> None:
    """Record for each sender which of its beats has arrived. This makes no event: only `sent` is watched."""
    beats = {change.key: change.new["sent"] for change in changes if change.new is not None}
    await ctx.transaction.execute(RETURN, (list(beats), list(beats.values())))


CANARY = Handler(
    name=TOPIC,
    function=give_back,
    subscription=Subscription(TOPIC, ops=("insert", "update"), watch=("sent",)),
    transactional=True,
)
