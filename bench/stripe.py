"""How much of Stripe's rate limit the handler of spaces keeps busy.

Against the local Stripe in a process of its own, which takes 100 ms for each answer, with a limit of 100 calls a
second: new spaces are inserted at once, and the calls that the server answered are counted second by second.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter

from bench.figure import Figure, at_least
from bench.reconcile import declared
from bench.stage import server
from bench.working import working
from handlers.stripe import StripeSettings

RPS = 100
SPACES = 300


def stripe_process() -> tuple[subprocess.Popen[str], dict[str, str]]:
    """A local Stripe that takes 100 ms per answer; the process and the settings that lead to it."""
    command = [sys.executable, "-u", "-m", "handlers.stripe.local", "--port", "0", "--latency", "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(2)]
    return process, dict(line.removeprefix("export ").split("=", 1) for line in lines)


def calls_by_second(url: str) -> list[int]:
    """How many calls the server took in each second, from the first to the last."""
    with urllib.request.urlopen(f"{url}/_local/state") as answer:
        calls = json.load(answer)["calls"]
    count = Counter(int(call["at"]) for call in calls)
    return [count[second] for second in range(min(count), max(count) + 1)]


async def measure(url: str, stripe: dict[str, str]) -> list[int]:
    """Insert the spaces, wait until all are in Stripe's catalogue, and return the calls per second."""
    settings = StripeSettings.model_validate({**stripe, "HEARKEN_STRIPE_RPS": RPS})
    async with working(url, declared(), {StripeSettings: settings}) as app:
        async with app.services.database.connection() as connection:
            await connection.execute(
                "insert into public.spaces (name, capacity, price_per_hour, is_active)"
                " select 'Space ' || i, 10, 25, true from generate_series(1, %s) i",
                (SPACES,),
            )
            while True:
                row = await (
                    await connection.execute("select count(*) as n from public.spaces where stripe_price_id is null")
                ).fetchone()
                if row is not None and row["n"] == 0:
                    break
                await asyncio.sleep(0.2)
    return calls_by_second(stripe["STRIPE_API_BASE"])


def figures(*, quick: bool = False) -> list[Figure]:
    """How much of the limit the full seconds in the middle used; no smaller when quick."""
    process, stripe = stripe_process()
    try:
        with server() as running:
            per_second = asyncio.run(measure(running.url, stripe))
    finally:
        process.terminate()
        process.wait()
    full = per_second[1:-1]
    return [at_least(f"Stripe's limit of {RPS}/s kept busy", sum(full) / len(full) / RPS * 100, 90, "%")]
