"""No handler: a worker that loads this never takes its bell down between two batches, as a very quick one does not."""

from __future__ import annotations

from worker.deliver import consumer

consumer.DOZE = 60.0
