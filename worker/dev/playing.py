"""`hearken dev --demo`: plays every declared demo, in a database and folder that are removed afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import click

from worker.declare.registry import Registry
from worker.dev import story
from worker.dev.demo import DemoFailed, Stage
from worker.dev.running import Running, running
from worker.observe.checks import CheckResult

# Seconds within which the worker must be ready to be played before.
_START = 60.0


async def play_all(registry: Registry, *, deadline: float = 60.0) -> None:
    """Play the demos in order of their names, each within `deadline` seconds.

    Raises DemoFailed, and whatever keeps a worker from starting.
    """
    if not registry.demos:
        raise DemoFailed("the modules that HEARKEN_HANDLERS names declare no demo")
    with tempfile.TemporaryDirectory(prefix="hearken-demo-") as folder:
        async with running(registry, Path(folder), throwaway=True) as world:
            async with _within(_START, "the worker", lambda: world.app.not_ready_because):
                await world.meanwhile(world.app.ready.wait())
            _require(await world.checks())
            for name in sorted(registry.demos):
                await _play(registry, name, world, deadline)


async def _play(registry: Registry, name: str, world: Running, deadline: float) -> None:
    connection = await world.app.services.database.connect()
    stage = Stage(world.app, frozenset(world.around.stand_ins), connection)
    try:
        async with _within(deadline, f"the demo {name!r}", lambda: stage.waiting_for):
            await world.meanwhile(registry.demos[name](stage))
    finally:
        await connection.close()


def _require(answers: list[CheckResult]) -> None:
    for answer in answers:
        if not answer.ok:
            raise DemoFailed(f"{answer.name} is not ready: {answer.text}")
        click.echo(story.labelled(answer.name, answer.text))


@asynccontextmanager
async def _within(seconds: float, what: str, waiting_for: Callable[[], str | None]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DemoFailed(f"{what} did not finish within {seconds:g} s; it was waiting for {waiting_for()}") from None
