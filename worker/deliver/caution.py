"""How carefully a consumer goes on after a batch was rolled back, until the one event is found that is at fault.

    rolled back → each row read by itself → fewer events and bytes each time → one event alone → that one is put aside

What is delivered outside and then rolled back would be delivered again. So it is proved before a delivery that its end
can be written down, unless a batch was committed a moment ago.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import psycopg

from worker.deliver.blame import blames_event
from worker.log import reader
from worker.log.rows import Readings
from worker.outcomes import Park
from worker.telemetry.error_line import error_line

# Bytes of rows in one batch. A worker holds them a few times over: as the server sent them, as text, parsed.
BATCH_BYTES = 8_000_000
# Seconds for which a commit proves that the next one is possible.
PROVEN_FOR = 10.0
# After a second failure a batch is a quarter of what it was, and again after each further one.
PARTS = 4
NOTHING_INLINE = -1


class Caution:
    """What has gone wrong since the last batch that was committed.

    careful  read each row by itself, so that one that cannot be read is found
    limit    how many events a batch may have, None: as many as ever
    budget   how many bytes of rows
    """

    def __init__(self) -> None:
        self.careful = False
        self.limit: int | None = None
        self.budget = BATCH_BYTES
        self._culprit: tuple[int, str] | None = None
        self._committed_at = -math.inf

    @property
    def prove(self) -> bool:
        """Whether to try out, before anything is delivered, whether its end can be written."""
        return time.monotonic() - self._committed_at > PROVEN_FOR

    @property
    def inline(self) -> int:
        """How large a row may be to come with its event, see `reader`."""
        return NOTHING_INLINE if self.careful else reader.INLINE

    def readings(self, *, judge: bool) -> Readings:
        """How the rows are to be read; `judge`: whether it is still open which events are wanted."""
        return Readings(self.budget, blames_event if self.careful else None, judge and self.careful)

    def failed(self, error: Exception, ids: Sequence[int], *, delivered: bool) -> None:
        """The batch of these events was rolled back, before or after something was `delivered` outside."""
        if delivered:
            self._committed_at = -math.inf
        blamed = blames_event(error)
        if not (blamed or isinstance(error, psycopg.errors.QueryCanceled)):
            return
        if blamed and self.limit == 1 and len(ids) == 1:
            why = f"its batch was rolled back whenever it was delivered, also alone: {error_line(error)}"
            self._culprit = (ids[0], why)
        if self.careful:
            self.limit = max(1, len(ids) // PARTS)
            self.budget = max(1, self.budget // PARTS)
        self.careful = True

    def refusal(self, event_id: int) -> Park | None:
        """What this event is put aside with, undelivered, if it is the one at fault."""
        return Park(self._culprit[1]) if self._culprit is not None and self._culprit[0] == event_id else None

    def succeeded(self, most: int) -> None:
        """A batch was committed: go on with more, up to `most` events, and then as ever."""
        self._committed_at, self._culprit = time.monotonic(), None
        if self.limit is not None and self.limit * PARTS < most:
            self.limit *= PARTS
            self.budget = min(BATCH_BYTES, self.budget * PARTS)
        else:
            self.careful, self.limit, self.budget = False, None, BATCH_BYTES
