"""Worker processes: what `python -m worker run` does, in processes of their own, whose log can be waited on.

They are forked from a server that has imported everything: 0.1 s instead of a second and a half for each.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.support.witness import Witness

ROOT = Path(__file__).parents[2]
# Port 0: two workers of a test serve HTTP at once.
ENVIRONMENT = {"PORT": "0", "HEARKEN_HOST": "127.0.0.1", "HEARKEN_SHUTDOWN_TIMEOUT": "5", "HEARKEN_CANARY_SECONDS": "0"}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["worker.app", "worker.cli.run", "tests.support.things", __name__])


def _run(environment: dict[str, str], log: Connection) -> None:
    """In the new process: become a worker."""
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(log.fileno(), sys.stderr.fileno())
    log.close()
    sys.argv = ["hearken", "run"]
    from worker.cli import main

    main()


class Worker:
    """A running worker. `lines` is its log, each line as the JSON object that it is."""

    def __init__(self, process: ForkServerProcess, log: Connection) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = process
        self._gone = asyncio.Event()
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(log))
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._gone.is_set()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    async def ended(self, seconds: float = 20) -> int:
        """Wait until the process is gone; returns its exit code, or minus the signal that ended it."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            raise AssertionError(f"worker is still there after {seconds:g} s; its log:\n{self.tail()}") from None
        await self._reading
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def said(self, event: str, *, after: int = 0, seconds: float = 15, **about: Any) -> dict[str, Any]:
        """Wait for a line of its log that begins so and has these fields, `after` so many lines; returns it."""

        def found() -> dict[str, Any] | None:
            fitting = (
                line
                for line in self.lines[after:]
                if str(line.get("event")).startswith(event) and about.items() <= line.items()
            )
            return next(fitting, None)

        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: found() is not None or self._reading.done())
        except TimeoutError:
            pass
        line = found()
        assert line is not None, f"worker did not say {event!r} {about or ''}; its log:\n{self.tail()}"
        return line

    async def close(self) -> None:
        """Leave nothing of it behind."""
        self.send(signal.SIGKILL)
        await self._gone.wait()
        await self._reading
        self._process.close()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._gone.set()

    def tail(self) -> str:
        return "\n".join(map(str, self.lines[-20:]))

    async def _read(self, log: Connection) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, log)
        async for text in reader:
            self.lines.append(_parse(text.decode()))
            await self._tell()
        transport.close()
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


def _parse(text: str) -> dict[str, Any]:
    """A line of the log; what is none (a traceback) is kept as it is."""
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"event": text.rstrip()}


@asynccontextmanager
async def start_worker(
    url: str, modules: Iterable[str], witness: Witness | None = None, **environment: str
) -> AsyncIterator[Worker]:
    """A worker over the database at `url` that runs the handlers of `modules`; killed on leaving, if still there.

    environment  further variables, such as HEARKEN_LISTEN_CHECK="0.5"
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEARKEN_", "KILL_", "PG"))}
    own = {"DATABASE_URL": url, "HEARKEN_HANDLERS": ",".join(modules)}
    if witness is not None:
        own["WITNESS_PORT"] = str(witness.port)
    ours, theirs = _server.Pipe(duplex=False)
    process = _server.Process(target=_run, args=({**kept, **ENVIRONMENT, **own, **environment}, theirs))
    process.start()
    theirs.close()
    worker = Worker(process, ours)
    try:
        yield worker
    except AssertionError:
        print(f"log of worker {worker.pid}:\n{worker.tail()}")
        raise
    finally:
        await worker.close()
