"""Reconciling 10,000 spaces: how long, how many requests, and how much memory `hearken reconcile spaces` takes.

Against the local Stripe in this process, whose catalogue is what the handler would have made, with every hundredth
product changed by hand. The command is a process of its own, at a worker's default limit of 20 requests a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from typing import Any

import psycopg

from bench.figure import Figure, at_most
from bench.stage import FILL, server
from handlers.spaces import sync_space
from handlers.stripe.local import LocalStripe
from tests.support.local_stripe import sdk
from worker.declare.registry import Registry, registry
from worker.install import migrations
from worker.install.migrate import migrate

RPS = 20
EVERY = 100
# Runs the command and says, on standard error, how much memory it took at most.
PROGRAM = """
import atexit, sys
from bench.stage import peak_megabytes
atexit.register(lambda: print(round(peak_megabytes()), file=sys.stderr))
sys.argv = ["hearken", "reconcile", "spaces", "--json"]
from worker.cli import main
main()
"""
IDS = "update spaces set stripe_product_id = 'space_' || id, stripe_price_id = 'price_' || id"


async def prepare(url: str, local: LocalStripe, spaces: int) -> None:
    """Spaces that agree with their products, but for every hundredth."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await migrations.apply(connection, migrations.find_migrations(["spaces", "stripe"]))
        await connection.execute(FILL, (spaces,))
        await connection.execute(IDS)
        await migrate(connection, declared())  # after the rows are there: they are not to be in flight
        rows = await (await connection.execute("select id, name, capacity, price_per_hour from spaces")).fetchall()
    async with sdk(local) as api:
        made = await api.products.create_async({"id": "model", "name": "Model", "description": "A quiet place to work"})
        await api.prices.create_async({"product": made.id, "currency": "eur", "unit_amount": 1})
    (product,), (price,) = list(local.store.products), list(local.store.prices)
    for key, name, capacity, amount in rows:
        about = {"space_id": str(key), "capacity": str(capacity), "type": "coworking_space"}
        ids = {"id": f"space_{key}", "default_price": f"price_{key}"}
        local.store.products.put({**product, **ids, "name": name if key % EVERY else "By hand", "metadata": about})
        of = {"id": f"price_{key}", "product": f"space_{key}", "lookup_key": f"space_{key}"}
        cents = int(amount * 100)
        local.store.prices.put({**price, **of, "unit_amount": cents, "unit_amount_decimal": str(cents)})


def declared() -> Registry:
    """The handler of spaces alone."""
    chosen = Registry()
    chosen.handlers = {sync_space.__name__: registry.handlers[sync_space.__name__]}
    return chosen


async def reconcile(environment: dict[str, str]) -> tuple[float, int, dict[str, Any]]:
    """Seconds, peak memory in MB, and what the command found."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM), env={**os.environ, **environment}, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return time.monotonic() - began, int(err.split()[-1]), json.loads(out)


async def measure(url: str, spaces: int) -> list[Figure]:
    """Reconcile, against what was changed by hand."""
    async with LocalStripe() as local:
        await prepare(url, local, spaces)
        local.calls.clear()
        stripe = {"STRIPE_SECRET_KEY": local.key, "STRIPE_API_BASE": local.url, "HEARKEN_STRIPE_RPS": str(RPS)}
        seconds, peak, found = await reconcile({"DATABASE_URL": url, "HEARKEN_HANDLERS": "handlers.spaces", **stripe})
        requests = len(local.calls)
    assert len(found["drift"]) == spaces // EVERY, len(found["drift"])
    return [
        Figure(f"reconciling {spaces:,} spaces", seconds, "s"),
        at_most("reconciling: requests / what the limit allows", requests / (RPS * seconds), 1),
        at_most("reconciling: peak memory", peak, 200, "MB"),
    ]


def figures(*, quick: bool = False) -> list[Figure]:
    """How long, how many requests, how much memory."""
    with server() as running:
        return asyncio.run(measure(running.url, 1000 if quick else 10_000))
