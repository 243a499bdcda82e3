"""Whether the end of a batch can be written down: tried out before it is delivered, unless one just was.

A full disk or a trigger of somebody's may let everything pass but the last write. What was delivered outside by then
would be delivered again with every try, and once by each new process. `caution` says when to ask.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from worker.change import Change
from worker.deliver.parked import Parking, park
from worker.deliver.transactional import CHECK_CONSTRAINTS
from worker.log import cursors
from worker.log.cursors import Claim
from worker.postgres.database import Database
from worker.postgres.storable import LONGEST_REASON

# As long as what may have to be written, and nothing that compresses, so that it takes the room that it would need.
REASON = secrets.token_hex(LONGEST_REASON // 2)


async def prove_writable(database: Database, claim: Claim, changes: Sequence[Change]) -> None:
    """Put all of them aside and move the cursor, and take it back. Raises what the database raises.

    Beside the batch's own transaction, which has no transaction id while it waits for the outside world.
    """
    async with database.engine.connection() as connection, connection.transaction(force_rollback=True):
        await park(connection, claim.handler, [Parking(change, "due", 0, reason=REASON) for change in changes])
        await cursors.move(connection, claim, claim.position)
        await connection.execute(CHECK_CONSTRAINTS)
