"""How things stand at the moment Prometheus asks: lag, what is parked, circuits, pools, the doorbell.

Figures from the database are at most a moment old, and left out while it is unreachable: old ones would mislead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily

from worker.deliver.consumer import Consumer
from worker.doorbell.listener import Listener
from worker.observe.status import HandlerStatus
from worker.postgres.database import Database

# What a Listener's state may be.
DOORBELL = ("connecting", "listening", "polling")


class Gauges:
    """A collector. `statuses` is what the database last said, None when it is unreachable; /metrics puts it here."""

    def __init__(self, database: Database, listener: Listener, consumers: Sequence[Consumer]) -> None:
        self.statuses: Sequence[HandlerStatus] | None = None
        self._database = database
        self._listener = listener
        self._consumers = consumers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For the registry."""
        yield from self._backlog()
        yield from self._brakes()
        yield self._circuits()
        yield from self._pools()
        yield self._doorbell()

    def _backlog(self) -> Iterator[GaugeMetricFamily]:
        known = GaugeMetricFamily("hearken_database_up", "Whether the figures from the database are included")
        known.add_metric([], float(self.statuses is not None))
        yield known
        lag = GaugeMetricFamily("hearken_lag_seconds", "Age of the oldest event beyond a cursor", labels=["handler"])
        waiting = GaugeMetricFamily(
            "hearken_waiting_events",
            "Events beyond a cursor (unread, counted up to a limit) or parked (running, due, held, dead)",
            labels=["handler", "state"],
        )
        late = GaugeMetricFamily(
            "hearken_schedule_late_seconds", "How late the handler's next tick is", labels=["handler"]
        )
        ages: dict[str, float] = defaultdict(float)
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for status in self.statuses or ():
            ages[status.handler] = max(ages[status.handler], status.oldest or 0.0)
            if status.next_due is not None:
                late.add_metric([status.handler], status.late)
            states = {
                "unread": status.behind or 0,
                "running": status.running,
                "due": status.due,
                "held": status.held,
                "dead": status.dead,
            }
            for state, count in states.items():
                counts[status.handler, state] += count
        for handler, age in ages.items():
            lag.add_metric([handler], age)
        for labels, count in counts.items():
            waiting.add_metric(labels, count)
        yield from (lag, waiting, late)

    def _brakes(self) -> Iterator[GaugeMetricFamily]:
        braked = GaugeMetricFamily(
            "hearken_braked", "Whether the brake has stopped the handler, until a person confirms", labels=["handler"]
        )
        rows = GaugeMetricFamily(
            "hearken_braked_rows", "Rows that the window behind the brake would take away", labels=["handler", "kind"]
        )
        for handler, seen in {status.handler: status.braked for status in self.statuses or ()}.items():
            braked.add_metric([handler], float(seen is not None))
            rows.add_metric([handler, "deleted"], seen.deleted if seen else 0)
            rows.add_metric([handler, "archived"], seen.archived if seen else 0)
        yield from (braked, rows)

    def _circuits(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "hearken_circuit_open", "Whether the handler waits for its destination", labels=["handler"]
        )
        is_open: dict[str, bool] = defaultdict(bool)
        for consumer in self._consumers:
            is_open[consumer.handler.name] |= consumer.circuit.open
        for handler, value in is_open.items():
            family.add_metric([handler], float(value))
        return family

    def _pools(self) -> Iterator[GaugeMetricFamily]:
        connections = GaugeMetricFamily(
            "hearken_pool_connections", "Connections by pool and state", labels=["pool", "state"]
        )
        waiting = GaugeMetricFamily("hearken_pool_waiting", "Callers waiting for a connection", labels=["pool"])
        for pool in self._database.pools:
            stats = pool.get_stats()
            connections.add_metric([pool.name, "size"], stats["pool_size"])
            connections.add_metric([pool.name, "available"], stats["pool_available"])
            connections.add_metric([pool.name, "limit"], stats["pool_max"])
            waiting.add_metric([pool.name], stats["requests_waiting"])
        yield from (connections, waiting)

    def _doorbell(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "hearken_doorbell_state", "1 for the state of the listening connection", labels=["state"]
        )
        for state in DOORBELL:
            family.add_metric([state], float(self._listener.state == state))
        return family
