"""What these handlers share: events as JSON that Postgres takes apart, purchases locked and cleared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import LiteralString

from worker import Change, Context

SAY_WHO: LiteralString = "select set_config('hearken.note', %s, true)"
# In the order in which everybody locks them, so that no two deadlock.
LOCK: LiteralString = "select from public.purchases where id = any(%s) order by id for no key update"
# See 0001: a row that is seen here stands for a change that is seen too.
CLEAR: LiteralString = """
delete from public.session_suspects x
where x.purchase_id = any(%(purchases)s)
  and not exists (select from public.session_disagreements d
                  where d.purchase_id = any(%(purchases)s) and d.purchase_id = x.purchase_id)
"""


def records(changes: Sequence[Change]) -> str:
    """The events of a batch as one JSON array, for `jsonb_to_recordset`: their own JSON is in it as it was captured.

    A replay counts as the event that it repeats.
    """
    return "[" + ",".join(map(_record, changes)) + "]"


def _record(change: Change) -> str:
    return (
        f'{{"id":{change.replay_of or change.id},"at":"{change.at.isoformat()}","op":"{change.op}","key":{change.key},'
        f'"old":{change.former_json or "null"},"new":{change.new_json or "null"},"note":{change.note_json or "null"}}}'
    )


async def say_who(ctx: Context, why: str) -> None:
    """Name this handler as the author of what it writes from here on, wherever it is recorded who did what."""
    await ctx.transaction.execute(SAY_WHO, (json.dumps({"by": ctx.handler, "why": why}),))


async def lock(ctx: Context, purchases: Sequence[int]) -> None:
    """Lock these purchases, after whoever else holds them; what is read afterwards does not change."""
    await ctx.transaction.execute(LOCK, (purchases,))


async def clear(ctx: Context, purchases: Sequence[int]) -> None:
    """Those of the purchases that agree with their session need no longer be looked at for mismatches."""
    await ctx.transaction.execute(CLEAR, {"purchases": purchases})
