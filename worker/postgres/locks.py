"""Names that workers and triggers must agree on: advisory lock keys and channels, derived from words alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def _key(*words: object) -> int:
    """A bigint for pg_advisory_lock, from a hash of the words; two different uses never share one in practice."""
    digest = hashlib.sha256("\0".join(map(str, ("hearken", *words))).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def topic_lock(topic: str) -> int:
    """Held shared by a worker that sleeps on the topic; tried by its writers."""
    return _key("topic", topic)


def channel_of(topic: str) -> str:
    """The NOTIFY channel of the topic's doorbell (a name of at most 63 bytes)."""
    return f"hearken_{hashlib.sha256(topic.encode()).hexdigest()[:16]}"


def claim_lock(handler: str, shard: int) -> int:
    """Held by the one transaction that is running a batch of this cursor."""
    return _key("claim", handler, shard)


def migration_lock() -> int:
    """Held by whoever is migrating."""
    return _key("migrate")


def retention_lock() -> int:
    """Held by the one transaction that is making or dropping a partition."""
    return _key("retention")


def backfill_lock(topic: str, condition: str | None, handlers: Iterable[str] | None) -> int:
    """Held by the process that is running this backfill."""
    return _key("backfill", topic, condition, None if handlers is None else sorted(handlers))


def reconcile_lock(name: str) -> int:
    """Held by the process that is finding and mending this system's drift."""
    return _key("reconcile", name)


def replay_lock(run: int) -> int:
    """Held by the one session that is appending the events of a replay."""
    return _key("replay", run)
