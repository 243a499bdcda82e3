"""A Postgres of one's own, for `hearken dev` and the tests: runs a server in a `directory`.

`postgres` is a direct child, listens on 127.0.0.1 only, and has no Unix socket, whose path could be too
long. On Linux it ends with this process, even by kill -9; elsewhere one left behind is stopped by hand.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from worker.dev.directory import SUPERUSER, ServerDirectory
from worker.dev.ports import free_port, is_taken
from worker.dev.programs import EmbeddedPostgresError, find_programs

DATABASE = "hearken"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.005
_PORT_ATTEMPTS = 5


class EmbeddedPostgres:
    """One Postgres server and the directory that it keeps everything in.

    The methods block. They may be called from any thread (asyncio.to_thread), though not from two at once.

    data      the server's directory; made when missing
    version   the major version: 16 or 18, unless programs of another one are given
    programs  the directory of `initdb` and `postgres`; by default those that come with the package
    port      on 127.0.0.1; by default a free one, chosen at the first start and then kept
    settings  of postgresql.conf, by name, for every start of this object
    """

    def __init__(
        self,
        data: Path,
        *,
        version: int = 16,
        programs: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = ServerDirectory(data, version, programs or find_programs(version))
        self._wanted_port = port
        self._port: int | None = None
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self._directory.path)!r}, port={self._port})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where to connect, with the password: postgresql://hearken:…@127.0.0.1:PORT/hearken.

        Raises EmbeddedPostgresError before the first start, which finds the port and makes the password.
        """
        return self._url(DATABASE)

    def start(self) -> None:
        """Make a cluster if there is none, start its server, and return when it takes connections.

        Raises EmbeddedPostgresError when a server runs in this directory already, or cannot be started.
        """
        if self._process is not None and self._process.poll() is None:
            raise EmbeddedPostgresError(f"{self} is already running.")
        try:
            with self._directory.claimed() as lock:
                self._directory.prepare(lock)
                self._serve(lock)
            self._create_database()
        except (OSError, psycopg.Error) as error:
            self.stop()
            raise EmbeddedPostgresError(f"{self} cannot be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down; open transactions are rolled back. Does nothing when the server does not run."""
        if (process := self._process) is None:
            return
        for request in (signal.SIGINT, signal.SIGQUIT):  # Postgres: fast, then immediate shutdown
            process.send_signal(request)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                self._process = None
                return
        self.kill()

    def kill(self) -> None:
        """Crash: SIGKILL to the server and its children, none of which is left on return."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):  # so it starts no child while we look for them
            for pid in (process.pid, *_children(process.pid)):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        self._directory.wait_until_released()

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()

    def _url(self, database: str) -> str:
        if self._port is None:
            raise EmbeddedPostgresError(f"{self} has no URL yet: start it first.")
        return f"postgresql://{SUPERUSER}:{self._directory.password()}@127.0.0.1:{self._port}/{database}"

    def _serve(self, lock: int) -> None:
        """Start the server; when the port is ours to choose, on the first one that is really free."""
        wanted = self._port or self._wanted_port
        for attempts_left in reversed(range(1 if wanted else _PORT_ATTEMPTS)):
            port = wanted or free_port()
            try:
                self._serve_on(port, lock)
            except EmbeddedPostgresError:
                if not (attempts_left and is_taken(port)):
                    raise
            else:
                self._port = port
                return

    def _serve_on(self, port: int, lock: int) -> None:
        own = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
        self._process = self._directory.run_server({**self._settings, **own}, lock)
        deadline = time.monotonic() + _START_SECONDS
        while not self._directory.is_ready():
            if self._process.poll() is not None:
                raise EmbeddedPostgresError(f"{self} did not start: {self._directory.last_words()}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"{self} was not ready after {_START_SECONDS:.0f} s: {self._directory.last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            found = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))


def _children(pid: int) -> list[int]:
    if sys.platform == "linux":
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    else:
        command = ["/usr/bin/pgrep", "-P", str(pid)]  # exits with 1 when there are none
        listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout  # noqa: S603
    return [int(child) for child in listed.split()]
