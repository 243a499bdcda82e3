"""The process's HTTP server: up before the database is, and until the very end, so that probes always get an answer.

What it answers is made elsewhere (`probes`) and given to it as routes; here is what all of them share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from worker.errors import ConfigurationError, RequestRefused

logger = structlog.get_logger("http")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Largest body of a request, in bytes. Anything larger does not belong in an event.
LARGEST_BODY = 65536
# Seconds that requests get to end when the server stops.
STOP_GRACE = 2.0


class AccessLog(AbstractAccessLogger):
    """One line per request, at debug level. Without the query, which may hold a secret."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        logger.debug("request", method=request.method, path=request.path, status=response.status, seconds=time)


@web.middleware
async def errors_as_json(request: web.Request, handler: Answer) -> web.StreamResponse:
    """What went wrong with a request, as a small JSON object."""
    try:
        return await handler(request)
    except RequestRefused as error:
        return web.json_response({"error": str(error), **error.details}, status=error.status, headers=error.headers)
    except web.HTTPMethodNotAllowed as error:
        allowed = sorted(error.allowed_methods)
        return _refusal(error.status, f"{request.path} does not accept {request.method}", allowed=allowed)
    except web.HTTPNotFound as error:
        return _refusal(error.status, f"nothing is served at {request.path}")
    except web.HTTPError as error:
        return _refusal(error.status, error.reason)
    except Exception:
        logger.exception("request failed", method=request.method, path=request.path)
        return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed: see the worker's log")


def _refusal(status: int, error: str, *, allowed: Iterable[str] = ()) -> web.Response:
    headers = {"Allow": ", ".join(allowed)} if allowed else None
    return web.json_response({"error": error}, status=status, headers=headers)


async def _sign(_request: web.Request, response: web.StreamResponse) -> None:
    """Keep answers out of caches, and do not reveal which versions run here."""
    response.headers["Server"] = "hearken"
    response.headers.setdefault("Cache-Control", "no-store")


class HttpServer:
    """Serves `routes` at `address` (host and port; with port 0 one that is free, see `port`), once `started` is set."""

    def __init__(self, address: tuple[str, int], routes: Iterable[web.AbstractRouteDef]) -> None:
        self.started = asyncio.Event()
        self._host, self._wanted = address
        application = web.Application(middlewares=[errors_as_json], client_max_size=LARGEST_BODY)
        application.add_routes(routes)
        application.on_response_prepare.append(_sign)
        self._runner = web.AppRunner(
            application, access_log_class=AccessLog, shutdown_timeout=STOP_GRACE, auto_decompress=False
        )

    def __repr__(self) -> str:
        return f"HttpServer({self._host!r}, {self._wanted})"

    @property
    def port(self) -> int:
        """Where it listens; what it was told, until it has started."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._wanted

    async def start(self) -> None:
        """Listen. Raises ConfigurationError when that address is not available."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._wanted).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"HTTP cannot listen on {self._host}:{self._wanted} ({error.strerror or error}):"
                " set PORT to a free one (0 takes any), or HEARKEN_HOST to an address of this machine"
            ) from error
        self.started.set()
        logger.info("listening for HTTP", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening, and let requests end."""
        await self._runner.cleanup()
