"""Endpoints over HTTP: authenticate, validate, append the event, and answer with the outcome if it comes in time.

`requests` appends; nothing is done here, so a request that was answered 202 survives whatever happens to this process.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiolimiter import AsyncLimiter
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import to_json, to_jsonable_python

from worker.declare.handler import Endpoint, Handler
from worker.deliver.runs import Run, find_run
from worker.errors import AlreadyRunning, KeyTaken, RequestRefused
from worker.http.openapi import describe
from worker.operate.handlers import why_paused
from worker.postgres.database import Database
from worker.sources.requests import append_request, problems, sound, wait_for

LONGEST_WAIT = 300.0
PLAIN = "identity"
LONGEST_KEY = 255
# No run's id is larger than a bigint.
DIGITS = 18

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[web.Request, Handler, Endpoint], Awaitable[web.StreamResponse]]


class Endpoints:
    """The routes of all endpoints. `secret` None: they are off, and say so."""

    def __init__(
        self, handlers: Iterable[Handler], database: Database, secret: SecretStr | None, stop: asyncio.Event
    ) -> None:
        self._served = [(handler, handler.endpoint) for handler in handlers if handler.endpoint is not None]
        self._database = database
        self._secret = secret
        self._stop = stop
        self._limits = {endpoint.name: AsyncLimiter(endpoint.rate, 60) for _, endpoint in self._served}

    def routes(self) -> list[web.RouteDef]:
        """For each endpoint POST and GET of its path, and GET of its runs; and the document that describes them."""
        routes = [web.get("/openapi.json", self._openapi)] if self._served else []
        for handler, endpoint in self._served:
            routes += [
                web.post(endpoint.path, self._guarded(self._post, handler, endpoint)),
                web.get(
                    endpoint.path, self._guarded(self._read, handler, endpoint) if endpoint.read else _usage(endpoint)
                ),
                web.get(endpoint.status_path("{run}"), self._guarded(self._run, handler, endpoint)),
            ]
        return routes

    def _guarded(self, serve: Serve, handler: Handler, endpoint: Endpoint) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            self._authorize(request)
            await self._take_turn(endpoint)
            try:
                return await serve(request, handler, endpoint)
            except (OperationalError, PoolTimeout):
                raise RequestRefused(503, "the database cannot be reached: try again", {"Retry-After": "5"}) from None

        return answer

    async def _take_turn(self, endpoint: Endpoint) -> None:
        limit = self._limits[endpoint.name]
        if not limit.has_capacity():
            again = {"Retry-After": str(math.ceil(limit.time_period / limit.max_rate))}
            raise RequestRefused(429, f"{endpoint.path} accepts {endpoint.rate} requests a minute: retry later", again)
        await limit.acquire()

    def _authorize(self, request: web.Request) -> None:
        if self._secret is None:
            raise RequestRefused(503, "requests are off: set CRON_SECRET for the worker")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        offered = token.strip() if scheme.lower() == "bearer" else request.query.get("secret", "")
        # Bytes that are not UTF-8 come as surrogates.
        if not hmac.compare_digest(offered.encode(errors="replace"), self._secret.get_secret_value().encode()):
            raise RequestRefused(
                401, "send the header Authorization: Bearer, then the CRON_SECRET", {"WWW-Authenticate": "Bearer"}
            )

    async def _openapi(self, _request: web.Request) -> web.Response:
        return web.json_response(describe(self._served))

    async def _post(self, request: web.Request, handler: Handler, endpoint: Endpoint) -> web.Response:
        seconds = _wait(request, endpoint)
        key = _idempotency_key(request)
        body = await _body(request, endpoint.body)
        try:
            async with self._database.engine.connection() as connection:
                event_id = await append_request(
                    connection, handler, body, source="http", idempotency_key=key, alone=endpoint.alone
                )
        except KeyTaken as error:
            raise RequestRefused(409, str(error)) from None
        except AlreadyRunning as error:
            where = endpoint.status_path(error.event_id)
            raise RequestRefused(
                409, str(error), {"Location": where}, {"run": error.event_id, "status_url": where}
            ) from None
        run = await wait_for(partial(self._find, event_id), seconds, self._stop)
        return _outcome(endpoint, event_id, run, await self._why_waiting(handler, run))

    async def _read(self, request: web.Request, _handler: Handler, endpoint: Endpoint) -> web.Response:
        assert endpoint.read is not None  # noqa: S101  # or this would not be its route
        try:
            query = endpoint.read.query.model_validate({n: v for n, v in request.query.items() if n != "secret"})
        except ValidationError as error:
            raise _unsound(error) from None
        found = await endpoint.read.function(query, self._database)
        return web.json_response(text=to_json(found, inf_nan_mode="strings").decode())

    async def _run(self, request: web.Request, handler: Handler, endpoint: Endpoint) -> web.Response:
        number = request.match_info["run"]
        run = None
        if number.isascii() and number.isdigit() and len(number) <= DIGITS:
            run = await self._find(int(number))
        if run is None or run.topic != endpoint.topic:
            raise RequestRefused(404, f"{endpoint.path} has no run with this id")
        return web.json_response(run_document(endpoint, run, await self._why_waiting(handler, run)))

    async def _find(self, event_id: int) -> Run | None:
        async with self._database.engine.connection() as connection:
            return await find_run(connection, event_id)

    async def _why_waiting(self, handler: Handler, run: Run | None) -> str | None:
        """Why an unfinished run does not move, if its handler is paused."""
        if run is not None and run.ended_at is not None:
            return None
        async with self._database.engine.connection() as connection:
            return await why_paused(connection, handler.name)


def run_document(endpoint: Endpoint, run: Run, paused: str | None) -> dict[str, Any]:
    """A run as JSON; `paused` says why its handler waits, where it does."""
    told = {
        "run": run.event_id,
        "name": endpoint.name,
        "state": run.state,
        "attempt": run.attempt,
        "asked_at": run.asked_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "paused": paused,
        "progress": run.progress,
        "result": run.result,
        "error": run.error,
    }
    return {name: to_jsonable_python(value) for name, value in told.items()}


def _outcome(endpoint: Endpoint, event_id: int, run: Run | None, paused: str | None) -> web.Response:
    """200 with what the handler returned; 500 when it failed for good; 202 while it has not ended."""
    where = endpoint.status_path(event_id)
    headers = {"Location": where, "Hearken-Run": str(event_id)}
    if run is not None and run.state == "succeeded":
        return web.json_response(run.result, headers=headers)
    if run is not None and run.state == "skipped":
        return web.json_response({"run": event_id, "skipped": run.error}, headers=headers)
    if run is not None and run.state == "dead":
        body = {"error": f"the run failed: {run.error}", "run": event_id, "status_url": where}
        return web.json_response(body, status=HTTPStatus.INTERNAL_SERVER_ERROR, headers=headers)
    state = "queued" if run is None else run.state
    body = {"run": event_id, "state": state, "status_url": where} | ({"paused": paused} if paused else {})
    return web.json_response(body, status=HTTPStatus.ACCEPTED, headers=headers)


def _wait(request: web.Request, endpoint: Endpoint) -> float:
    if unknown := sorted(set(request.query) - {"wait", "secret"}):
        raise RequestRefused(422, f"no such parameter: {', '.join(unknown)}; known: wait and secret")
    text = request.query.get("wait")
    if text is None:
        return endpoint.wait
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise RequestRefused(422, f"wait must be a number of seconds from 0 to {LONGEST_WAIT:.0f}")
    return seconds


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise RequestRefused(422, f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters")
    return key


async def _body(request: web.Request, model: type[BaseModel]) -> str:
    if request.headers.get("Content-Encoding", PLAIN).lower() != PLAIN:
        # A packed body may be a bomb, or cut; and what is allowed here is too short to be worth it.
        raise RequestRefused(415, "send the body as it is, without Content-Encoding", {"Accept-Encoding": PLAIN})
    text = await request.read()
    if text and request.content_type != "application/json":
        raise RequestRefused(415, "send JSON, with the header Content-Type: application/json")
    try:
        return sound(model, text)
    except ValidationError as error:
        raise _unsound(error) from None


def _unsound(error: ValidationError) -> RequestRefused:
    fields = problems(error)
    return RequestRefused(422, "; ".join(f"{f['field']}: {f['problem']}" for f in fields), None, {"fields": fields})


def _usage(endpoint: Endpoint) -> Answer:
    """How to POST: open to everyone, as it holds no secret."""
    usage = {
        "name": endpoint.name,
        "post": endpoint.path,
        "headers": {"Authorization": "Bearer CRON_SECRET", "Content-Type": "application/json"},
        "body": endpoint.body.model_json_schema(by_alias=True),
        "wait": f"?wait=SECONDS for the outcome, {endpoint.wait:g} by default, at most {LONGEST_WAIT:g}",
        "outcome": endpoint.status_path("RUN"),
        "description": "/openapi.json",
    }

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(usage)

    return answer
