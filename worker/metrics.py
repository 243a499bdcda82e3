"""What Prometheus is told. Labels are names of handlers and destinations, never a row's values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class HandlerMetrics:
    """One handler's own series, looked up once."""

    def __init__(self, metrics: Metrics, handler: str) -> None:
        self.delivered = metrics.delivered.labels(handler)
        self.failed = metrics.failed.labels(handler)
        self.parked = metrics.parked.labels(handler)
        self.dead = metrics.dead.labels(handler)
        self.latency = metrics.latency.labels(handler)
        self.batch = metrics.batch.labels(handler)
        self.sleeps = metrics.sleeps.labels(handler)
        self.wakeups = metrics.wakeups.labels(handler)


class Metrics:
    """The engine's metrics, in a registry of its own so that two apps of one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.delivered = self._counter("delivered", "Events delivered and done with")
        self.failed = self._counter("failed", "Deliveries that failed, whatever became of the event")
        self.parked = self._counter("parked", "Events put aside to be tried again or held behind another")
        self.dead = self._counter("dead", "Events that only a person can mend")
        self.sleeps = self._counter("sleeps", "Times a consumer found nothing and slept")
        self.wakeups = self._counter("wakeups", "Times a sleeping consumer was woken by a commit")
        self.latency = Histogram(
            "hearken_commit_to_handler_seconds",
            "From the capture of an event to the call of its handler, first attempts only",
            ["handler"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "hearken_batch_events", "Events per batch", ["handler"], buckets=SIZES, registry=self.registry
        )
        self.lag = Gauge(
            "hearken_lag_seconds", "Age of the oldest undelivered event", ["handler"], registry=self.registry
        )
        self.pool = Gauge(
            "hearken_pool_connections", "Connections by pool and state", ["pool", "state"], registry=self.registry
        )

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"hearken_{name}", text, ["handler"], registry=self.registry)

    def of(self, handler: str) -> HandlerMetrics:
        """The series of one handler; they exist, at zero, from here on."""
        return HandlerMetrics(self, handler)
