"""`python -m handlers.stripe.local`: the local Stripe as a program of its own, until it is interrupted.

It prints two lines that a shell or a process can read: STRIPE_API_BASE=… and STRIPE_SECRET_KEY=….
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from handlers.stripe.local import LocalStripe


async def _serve(server: LocalStripe, latency: float, rps: float | None) -> None:
    server.set_latency(latency)
    server.limit_rate(rps)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        click.echo(f"STRIPE_API_BASE={server.url}\nSTRIPE_SECRET_KEY={server.key}")
        await stop.wait()


@click.command()
@click.option("--port", default=0, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="File that keeps the state.")
@click.option("--account", help="Account id; default: the state file's, or a new one.")
@click.option("--accept-any-key", is_flag=True, help="Accept every well-formed secret key.")
@click.option("--latency", default=0.0, help="Seconds each request takes.")
@click.option("--rps", type=float, help="Answer 429 above this many requests per second.")
def main(
    *,
    port: int,
    state: Path | None,
    account: str | None,
    accept_any_key: bool,
    latency: float,
    rps: float | None,
) -> None:
    """Serve a local Stripe with products and prices."""
    try:
        server = LocalStripe(port, state_file=state, account=account, accept_any_key=accept_any_key)
        asyncio.run(_serve(server, latency, rps))
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
