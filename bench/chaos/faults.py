"""How each fault is done, and undone: what `schedule` names, on the world of one run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from bench.chaos.fleet import MODULES, Fleet
from bench.chaos.schedule import KINDS, Fault
from bench.chaos.systems import command
from tests.support.proxy import TcpProxy
from tests.support.small_disk import SmallDisk
from tests.support.things import connect
from worker.dev.embedded import EmbeddedPostgres

TERMINATE: LiteralString = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name like 'hearken%%' and pid %% 2 = %s
"""


@dataclass(frozen=True)
class World:
    """What faults are done to. Workers connect by way of the proxy, the load does not; only root has the disk."""

    server: EmbeddedPostgres
    proxy: TcpProxy
    fleet: Fleet
    disk: SmallDisk | None


async def kill_a_worker(world: World, fault: Fault) -> None:
    if worker := world.fleet.worker(fault.victim):
        await world.fleet.kill(worker)


async def stop_a_worker(world: World, fault: Fault) -> None:
    if worker := world.fleet.worker(fault.victim):
        await world.fleet.stop(worker)


async def freeze_a_worker(world: World, fault: Fault) -> None:
    if worker := world.fleet.worker(fault.victim):
        worker.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.hold)
        finally:
            worker.send(signal.SIGCONT)


async def terminate_backends(world: World, fault: Fault) -> None:
    async with await connect(world.server.url) as connection:
        await connection.execute(TERMINATE, (fault.victim % 2,))


async def restart_the_server(world: World, fault: Fault) -> None:
    await asyncio.to_thread(world.server.stop)
    await asyncio.sleep(fault.hold)
    await asyncio.to_thread(world.server.start)


async def crash_the_server(world: World, fault: Fault) -> None:
    await asyncio.to_thread(world.server.kill)
    await asyncio.sleep(fault.hold)
    await asyncio.to_thread(world.server.start)


async def cut_connections(world: World, fault: Fault) -> None:
    await world.proxy.cut()


async def black_hole_connections(world: World, fault: Fault) -> None:
    world.proxy.freeze()
    try:
        await asyncio.sleep(fault.hold)
    finally:
        world.proxy.thaw()


async def strand_connections(world: World, fault: Fault) -> None:
    world.proxy.strand()
    await asyncio.sleep(fault.hold)
    await world.proxy.cut()


async def use_up_connections(world: World, fault: Fault) -> None:
    await world.proxy.cut()
    async with AsyncExitStack() as taken:
        try:
            while True:
                await taken.enter_async_context(await connect(world.server.url))
        except psycopg.OperationalError:  # none is left
            await asyncio.sleep(fault.hold)


async def change_settings_of_the_role(world: World, fault: Fault) -> None:
    """As an administrator might, for new sessions: all must connect anew under it."""
    settings = ("default_transaction_isolation = 'serializable'", "search_path = ''", "statement_timeout = '50ms'")
    setting = settings[fault.victim % len(settings)]
    async with await connect(world.server.url) as connection:
        await connection.execute(f"alter role current_user set {setting}".encode())
        await world.proxy.cut()
        await asyncio.sleep(fault.hold)
        await connection.execute(b"alter role current_user reset all")


async def migrate(url: str, environment: Mapping[str, str]) -> None:
    """What a release does before its workers start."""
    code, _, err = await command(url, MODULES, environment, "migrate")
    assert code == 0, err


async def release_another_version(world: World, fault: Fault) -> None:
    """Workers of the one before go on for a while, and are then replaced one by one: both are at work meanwhile."""
    version = "2" if world.fleet.environment.get("CHAOS_VERSION") != "2" else "1"
    await migrate(world.server.url, {**world.fleet.environment, "CHAOS_VERSION": version})
    world.fleet.environment["CHAOS_VERSION"] = version
    await asyncio.sleep(fault.hold)
    for worker in world.fleet.workers():
        await world.fleet.stop(worker)


async def fill_the_disk(world: World, fault: Fault) -> None:
    """The one that cursors and parked events are on: nothing can be settled. Needs root, and is left out without."""
    if world.disk is None:
        return
    await asyncio.to_thread(world.disk.fill)
    try:
        await asyncio.sleep(fault.hold)
    finally:
        world.disk.free()


DOERS: dict[str, Callable[[World, Fault], Awaitable[None]]] = {
    doer.__name__.replace("black_hole", "black-hole").replace("_", " "): doer
    for doer in (
        kill_a_worker,
        stop_a_worker,
        freeze_a_worker,
        terminate_backends,
        restart_the_server,
        crash_the_server,
        cut_connections,
        black_hole_connections,
        strand_connections,
        use_up_connections,
        change_settings_of_the_role,
        release_another_version,
        fill_the_disk,
    )
}
assert DOERS.keys() == KINDS.keys()
