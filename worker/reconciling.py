"""Running what systems declare with `@reconciler`: finding drift, and telling it from what is only on its way.

mark (how far the handler is) → find → what has an event since the mark, or one put aside, is in flight → the rest
is drift; mended by `snapshots`, which sends it through the log
"""

from __future__ import annotations

from worker.context import Context, Services
from worker.drift import Reconciler, Standing


async def look(reconciler: Reconciler, key: str, services: Services) -> Standing:
    """Where source and destination of one key stand now, also while events of it are in flight.

    services  with the table of the reconciler's handler. Raises what the system raises: an Outcome, psycopg.Error.
    """
    return await reconciler.look(key, Context(reconciler.handler, services))
