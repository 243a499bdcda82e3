"""No handler: a worker that loads this gives up a silent server after half a second beyond its query timeout."""

from __future__ import annotations

from worker.doorbell import listener
from worker.postgres import database

database.GRACE = 0.5
listener.ANSWER = 0.5
