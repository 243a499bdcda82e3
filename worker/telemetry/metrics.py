"""Metrics for Prometheus, of what happened. Labels are names of handlers, never a row's values.

How things stand at the moment of asking (lag, pools, doorbell) is in `gauges`. What a system of `handlers` has to tell,
it puts into prometheus_client's default registry, which /metrics shows too.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from worker.telemetry.histogram import Distribution

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class HandlerMetrics:
    """One handler's own series, looked up once."""

    def __init__(self, metrics: Metrics, handler: str) -> None:
        self.delivered = metrics.delivered.labels(handler)
        self.failed = metrics.failed.labels(handler)
        self.parked = metrics.parked.labels(handler)
        self.dead = metrics.dead.labels(handler)
        self.sleeps = metrics.sleeps.labels(handler)
        self.wakeups = metrics.wakeups.labels(handler)
        self.latency = metrics.latency.of(handler)
        self.batch = metrics.batch.of(handler)


class Metrics:
    """The engine's metrics, in a registry of its own so that two apps of one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.delivered = self._counter("delivered", "Events delivered")
        self.failed = self._counter("failed", "Deliveries that failed, whether or not the event is retried")
        self.parked = self._counter("parked", "Events parked to be retried, or held behind another")
        self.dead = self._counter("dead", "Events that died and need a person")
        self.sleeps = self._counter("sleeps", "Times a consumer found nothing and slept")
        self.wakeups = self._counter("wakeups", "Times a sleeping consumer was woken by a commit")
        self.latency = self._distribution(
            "commit_to_handler_seconds",
            "From the capture of an event to the call of its handler, first attempts only",
            SECONDS,
        )
        self.batch = self._distribution("batch_events", "Events per batch", SIZES)
        self.canary = Histogram(
            "hearken_canary_seconds",
            "From the sending of a canary's beat to its handler",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.canary_silent = Gauge(
            "hearken_canary_silent",
            "1 for the part that has lost the last beat",
            ["part"],
            registry=self.registry,
        )

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"hearken_{name}", text, ["handler"], registry=self.registry)

    def _distribution(self, name: str, text: str, bounds: tuple[float, ...]) -> Distribution:
        distribution = Distribution(f"hearken_{name}", text, bounds)
        self.registry.register(distribution)
        return distribution

    def of(self, handler: str) -> HandlerMetrics:
        """The series of one handler; they exist, at zero, from here on."""
        return HandlerMetrics(self, handler)
