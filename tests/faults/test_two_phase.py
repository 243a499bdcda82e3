"""Promises 5 and 11 where transactions can be prepared: a sleeping worker keeps nobody from it, and hears soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import pytest

from tests.support.postgres import FAST, prepare_template, server_in, temporary_directory
from tests.support.things import connect, observed, until_asleep, watch_things
from tests.support.witness import Witness
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres

SOON = 2.0
INSERT: LiteralString = "insert into things (id, version) values (%s, 0)"


@pytest.fixture(scope="module")
def preparing() -> Iterator[EmbeddedPostgres]:
    """A server on which transactions can be prepared."""
    settings = {**FAST, "max_prepared_transactions": "10"}
    with (
        temporary_directory() as directory,
        server_in(Path(directory) / "server", settings) as server,
    ):
        yield server


async def test_a_transaction_is_prepared_while_a_worker_sleeps(preparing: EmbeddedPostgres) -> None:
    """And its events come soon after COMMIT PREPARED, as those of any other transaction do."""
    await asyncio.to_thread(prepare_template, preparing.url)
    modules = observed("external")
    await watch_things(preparing.url, modules)
    async with (
        Witness() as witness,
        start_worker(preparing.url, modules, witness, HEARKEN_LISTEN_CHECK="600"),
        await connect(preparing.url) as writer,
    ):

        async def arrives(key: int) -> None:
            await witness.until(lambda heard: str(key) in {d.key for d in heard if d.done}, SOON)

        for key in (1, 2):
            await until_asleep(preparing.url)
            await writer.execute("begin")
            await writer.execute(INSERT, (key,))
            await writer.execute(f"prepare transaction 'test{key}'".encode())
            await writer.execute(f"commit prepared 'test{key}'".encode())
            await arrives(key)
        await until_asleep(preparing.url)
        await writer.execute(INSERT, (3,))
        await arrives(3)
