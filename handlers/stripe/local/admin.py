"""`/_local`: what another process needs to see and steer this server. Not part of Stripe; loopback only."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from aiohttp import web

from handlers.stripe.local.desk import Desk
from handlers.stripe.local.faults import Aim, Fault

_AIM = {field.name for field in fields(Aim) if field.init and not field.name.startswith("_")}
_FAULT = {field.name for field in fields(Fault)} - {"aim"}


def state(desk: Desk) -> dict[str, Any]:
    """Return products, prices and calls as JSON; live-mode objects are apart, under `live`."""
    calls = [call.as_json() for call in desk.calls]
    return {"account": desk.account, **desk.test.store.dump(), "live": desk.live.store.dump(), "calls": calls}


def fault_from(wish: dict[str, Any]) -> Fault:
    """Return the fault a JSON object asks for; raises ValueError or TypeError naming what is wrong."""
    unknown = sorted(wish.keys() - _AIM - _FAULT)
    if unknown:
        raise ValueError(f"A fault has no {', '.join(unknown)}. It has: {', '.join(sorted(_AIM | _FAULT))}.")
    aim = Aim(**{name: value for name, value in wish.items() if name in _AIM})
    return Fault(aim=aim, **{name: value for name, value in wish.items() if name in _FAULT})


def routes(desk: Desk) -> list[web.RouteDef]:
    """Return the routes: GET /_local/state, POST and DELETE /_local/faults."""

    async def show(_request: web.Request) -> web.Response:
        return web.json_response(state(desk))

    async def ask(request: web.Request) -> web.Response:
        try:
            desk.faults.add(fault_from(await request.json()))
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"coming": len(desk.faults)})

    async def forget(_request: web.Request) -> web.Response:
        desk.faults.clear()
        return web.json_response({"coming": 0})

    return [
        web.get("/_local/state", show),
        web.post("/_local/faults", ask),
        web.delete("/_local/faults", forget),
    ]
