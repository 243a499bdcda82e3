"""What the worker answers about itself by HTTP: /livez, /readyz, /health and /metrics.

A platform restarts a process whose /livez fails, so it asks nothing outside: an unreachable database is no reason to
restart. /readyz is for deployments and alarms, /health for people and dashboards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from psycopg import Error

from worker.deliver.consumer import Consumer
from worker.errors import CheckFailed
from worker.observe.checks import CheckResult
from worker.observe.gauges import Gauges
from worker.observe.health import COUNTED, Health
from worker.observe.stalls import state_of
from worker.observe.status import HandlerStatus
from worker.telemetry.error_line import error_line
from worker.telemetry.metrics import Metrics
from worker.version import __version__


class Probes:
    """The routes. They answer from the start of the process to its end."""

    def __init__(self, health: Health, metrics: Metrics, gauges: Gauges) -> None:
        self._health = health
        self._metrics = metrics
        self._gauges = gauges
        self._started_at = datetime.now(UTC)
        metrics.registry.register(gauges)

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD of each path."""
        paths = {"/livez": self.livez, "/readyz": self.readyz, "/health": self.health, "/metrics": self.metrics}
        return [web.get(path, answer) for path, answer in paths.items()]

    async def livez(self, _request: web.Request) -> web.Response:
        """200 as long as the event loop runs."""
        return web.Response(text="alive\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 when every check is green, else 503; a line for each."""
        answers = await self._health.answers()
        text = "".join(f"{'ok ' if answer.ok else 'RED'} {answer.name}: {answer.text}\n" for answer in answers)
        return web.Response(text=text, status=_status(answers))

    async def health(self, _request: web.Request) -> web.Response:
        """JSON of everything known; 200 even when something is wrong, because it is needed most then."""
        answers = await self._health.answers()
        statuses, unknown = await self._statuses()
        report = {
            "version": __version__,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "ready": all(answer.ok for answer in answers),
            "checks": [_check(answer) for answer in answers],
            "handlers": {
                name: _handler(consumers, statuses.get(name, ())) for name, consumers in self._health.consumers.items()
            },
            "handlers_unknown": unknown,
        }
        return web.json_response(report)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format: the engine's metrics, and the default registry's (the process, the handlers')."""
        try:
            self._gauges.statuses = await self._health.statuses()
        except (CheckFailed, Error):
            self._gauges.statuses = None
        body = generate_latest(REGISTRY) + generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _statuses(self) -> tuple[dict[str, list[HandlerStatus]], str | None]:
        """What the database says of each handler; or why it says nothing."""
        found: dict[str, list[HandlerStatus]] = {}
        try:
            for status in await self._health.statuses():
                found.setdefault(status.handler, []).append(status)
        except (CheckFailed, Error) as error:
            return {}, error_line(error)
        return found, None


def _status(answers: Iterable[CheckResult]) -> int:
    return 200 if all(answer.ok for answer in answers) else 503


def _check(answer: CheckResult) -> dict[str, Any]:
    return {"name": answer.name, "ok": answer.ok, "text": answer.text, "age_seconds": round(answer.age, 3)}


def _handler(consumers: Sequence[Consumer], statuses: Sequence[HandlerStatus]) -> dict[str, Any]:
    """One handler: what its consumers here say, and what the database says (null while that is unknown)."""
    known = bool(statuses) and all(status.enrolled for status in statuses)
    behind = sum(status.behind or 0 for status in statuses)
    ages = [status.oldest for status in statuses if status.oldest is not None]
    return {
        "state": ", ".join(sorted({state_of(consumer) for consumer in consumers})),
        "trouble": next((c.progress.trouble for c in consumers if c.progress.trouble is not None), None),
        "circuit": _circuit(consumers),
        "oldest_seconds": round(max(ages), 3) if ages else None,
        "behind": behind if known else None,
        "behind_is_at_least": any((status.behind or 0) >= COUNTED for status in statuses),
        "parked": sum(status.due for status in statuses) if known else None,
        "running": sum(status.running for status in statuses) if known else None,
        "held": sum(status.held for status in statuses) if known else None,
        "dead": sum(status.dead for status in statuses) if known else None,
        "braked": next((str(status.braked) for status in statuses if status.braked is not None), None),
        "schedule": next((_schedule(due, s.late) for s in statuses if (due := s.next_due) is not None), None),
        "paused": next((status.paused for status in statuses if status.paused is not None), None),
    }


def _schedule(next_due: datetime, late: float) -> dict[str, Any]:
    return {"next_due": next_due.isoformat(), "late_seconds": round(late, 3)}


def _circuit(consumers: Sequence[Consumer]) -> dict[str, Any]:
    circuits = [consumer.circuit for consumer in consumers if consumer.circuit.open]
    return {
        "open": bool(circuits),
        "reason": circuits[0].reason if circuits else None,
        "alarm": any(circuit.alarm for circuit in circuits),
    }
