"""Promise: /metrics shows what happened and how things stand, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from handlers.stripe.client import CALLS
from tests.support.served import Reply, execute, served
from worker import Change, Context, Park, Retry
from worker.declare.registry import Registry

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(reply: Reply) -> Samples:
    """Every sample by its name and labels; fails where one stands twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} stands twice"
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def deciding() -> Registry:
    """A handler that does what the row's name says."""
    registry = Registry()

    @registry.on("public.things")
    async def decide(change: Change, ctx: Context) -> None:
        """Park, retry or succeed."""
        word = (change.new or {})["name"]
        if word == "park":
            raise Park("no good")
        if word == "retry":
            raise Retry("not yet")

    return registry


async def test_what_happened_is_counted_by_handler(empty_database_url: str) -> None:
    """Delivered, failed, parked, dead; latencies and batch sizes; sleeps."""
    async with served(empty_database_url, deciding()) as worker:
        await worker.until("/metrics", lambda reply: 'hearken_sleeps_total{handler="decide"} 1.0' in reply.text)
        await execute(
            empty_database_url, "insert into things values (1, 'fine'), (2, 'fine'), (3, 'park'), (4, 'retry')"
        )
        await worker.until("/metrics", lambda reply: 'hearken_dead_total{handler="decide"} 1.0' in reply.text)
        reply = await worker.get("/metrics")
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        samples = samples_of(reply)
        counted = [value(samples, f"hearken_{n}_total", handler="decide") for n in ("delivered", "failed", "parked")]
        assert counted == [2, 2, 1]
        assert value(samples, "hearken_commit_to_handler_seconds_count", handler="decide") == 4
        assert value(samples, "hearken_commit_to_handler_seconds_bucket", handler="decide", le="+Inf") == 4
        assert value(samples, "hearken_batch_events_sum", handler="decide") == 4
        assert value(samples, "hearken_sleeps_total", handler="decide") >= 1
        assert value(samples, "hearken_wakeups_total", handler="decide") >= 1


async def test_how_things_stand_is_shown(empty_database_url: str) -> None:
    """Lag and what is put aside, circuit, pools and doorbell."""
    async with served(empty_database_url, deciding()) as worker:
        await worker.until_ready()
        await execute(
            empty_database_url, "insert into hearken.paused (handler, by, reason) values ('decide', 'me', 'a test')"
        )
        await execute(empty_database_url, "insert into things values (1, 'fine'), (2, 'fine')")
        unread = 'hearken_waiting_events{handler="decide",state="unread"} 2.0'
        samples = samples_of(await worker.until("/metrics", lambda reply: unread in reply.text))
        assert value(samples, "hearken_lag_seconds", handler="decide") > 0
        assert value(samples, "hearken_waiting_events", handler="decide", state="dead") == 0
        assert value(samples, "hearken_circuit_open", handler="decide") == 0
        assert value(samples, "hearken_doorbell_state", state="listening") == 1
        assert value(samples, "hearken_database_up") == 1
        for pool, limit in (("batches", 4), ("work", 4)):
            assert value(samples, "hearken_pool_connections", pool=pool, state="limit") == limit
            assert value(samples, "hearken_pool_waiting", pool=pool) == 0


async def test_the_process_and_the_handlers_own_metrics_are_there_too(empty_database_url: str) -> None:
    """What a system counts in prometheus_client's default registry, and the process's own figures."""
    CALLS.labels("test_call", "ok").inc()
    async with served(empty_database_url, deciding()) as worker:
        samples = samples_of(await worker.get("/metrics"))
        assert value(samples, "hearken_stripe_calls_total", call="test_call", result="ok") == 1
        assert value(samples, "process_resident_memory_bytes") > 0
        assert value(samples, "python_gc_collections_total", generation="0") > 0
