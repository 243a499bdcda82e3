"""A batch of events as arrays, one per column, for a statement that unnests them. JSON goes to Postgres unread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, LiteralString

from worker import Change, Context, Park

SAY_WHO: LiteralString = "select set_config('hearken.note', %s, true)"


def columns(changes: Sequence[Change]) -> dict[str, list[Any]]:
    """The events of a batch by column. A replay is the event it repeats, so that it is not written down twice.

    Raises Park when the table was truncated: then no event says which rows there were.
    """
    if any(change.key is None for change in changes):
        raise Park("the table was truncated: mend by hand what belonged to its rows, then skip this event")
    return {
        "id": [change.replay_of or change.id for change in changes],
        "at": [change.at for change in changes],
        "op": [change.op for change in changes],
        "key": [change.key for change in changes],
        "old": [change.old_json for change in changes],
        "new": [change.new_json for change in changes],
        "note": [change.note_json for change in changes],
    }


async def say_who(ctx: Context, why: str) -> None:
    """Let what this handler writes from here on be known as its doing, wherever it is written down who did what."""
    await ctx.transaction.execute(SAY_WHO, (json.dumps({"by": ctx.handler, "why": why}),))
