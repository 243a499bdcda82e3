"""The embedded Postgres starts anywhere, keeps what it was given, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.postgres import FAST, temporary_directory
from worker.dev import embedded
from worker.dev.embedded import EmbeddedPostgres
from worker.dev.ports import free_port
from worker.dev.programs import EmbeddedPostgresError

_PARENT = """
import sys
from pathlib import Path
from worker.dev.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def closed_directory(server_directory: Path) -> Path:
    """A directory with a space in its path, below one that only its owner may pass through."""
    closed = server_directory / "my own"
    closed.mkdir()
    closed.chmod(0o700)
    return closed


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield Path(directory) / "postgres"


@pytest.fixture(scope="module")
def kept(home: Path) -> Iterator[EmbeddedPostgres]:
    """One server for all tests of this module that need no fresh one."""
    with EmbeddedPostgres(home, settings=FAST) as server:
        yield server


@pytest.fixture
def server(kept: EmbeddedPostgres) -> EmbeddedPostgres:
    """The server, running, however the test before left it."""
    kept.restart()
    return kept


def _ask(url: str, query: LiteralString) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _write(url: str, statement: LiteralString) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def _pid(home: Path) -> int:
    return int((home / "cluster" / "postmaster.pid").read_text().split()[0])


def _port(server: EmbeddedPostgres) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


@contextmanager
def _somebody_on(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.mark.parametrize("version", [16, 18])
def test_each_version_runs_below_a_directory_closed_to_others(closed_directory: Path, version: int) -> None:
    """A checkout with a space in its path and below a home of mode 700 is no obstacle, for root neither."""
    before = closed_directory.stat()
    with EmbeddedPostgres(closed_directory / "not yet there" / "postgres", version=version) as server:
        assert str(_ask(server.url, "show server_version")).startswith(str(version))
        assert _ask(server.url, "show server_encoding") == "UTF8"
        assert _ask(server.url, "select upper('ü')") == "Ü"
    after = closed_directory.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


def test_data_and_address_survive_a_restart(server: EmbeddedPostgres) -> None:
    """What was committed is there after a restart, at the same URL."""
    url = server.url
    _write(url, "create table kept as select 42 as answer")
    server.restart()
    assert server.url == url
    assert _ask(url, "select answer from kept") == 42


def test_a_crash_is_recovered_from(server: EmbeddedPostgres, home: Path) -> None:
    """After a kill no process is left, and the stale pid file does not prevent the next start."""
    _write(server.url, "create table crashed as select 42 as answer")
    with psycopg.connect(server.url) as connection:
        server.kill()
        with (home / "lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a process of the server lives
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert (home / "cluster" / "postmaster.pid").exists()
    server.start()
    assert _ask(server.url, "select answer from crashed") == 42


def test_a_pid_file_that_names_a_stranger_is_stale(server: EmbeddedPostgres, home: Path) -> None:
    """A pid that another process has by now is not taken for a running server."""
    server.kill()
    stranger = subprocess.Popen(["sleep", "600"], user=(home / "cluster").stat().st_uid)
    try:
        file = home / "cluster" / "postmaster.pid"
        file.write_text("\n".join([str(stranger.pid), *file.read_text().splitlines()[1:]]) + "\n")
        server.start()
        assert _ask(server.url, "select 1") == 1
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_start_in_one_directory_is_refused(server: EmbeddedPostgres, home: Path) -> None:
    """Whoever else wants the directory is told which process has it, and the server goes on."""
    with pytest.raises(EmbeddedPostgresError, match=f"already running in .* \\(process {_pid(home)}\\)"):
        EmbeddedPostgres(home).start()
    with pytest.raises(EmbeddedPostgresError, match="already running"):
        server.start()
    assert _ask(server.url, "select 1") == 1


def test_a_cluster_of_another_version_is_left_alone(server: EmbeddedPostgres, home: Path) -> None:
    """Data of version 16 is not touched by version 18; the message says what to ask for."""
    server.stop()
    with pytest.raises(EmbeddedPostgresError, match="holds a Postgres 16, not 18"):
        EmbeddedPostgres(home, version=18).start()
    server.start()


def test_a_port_lost_at_the_last_moment_is_replaced(
    server: EmbeddedPostgres, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody takes the free port before the server could, another one is found."""
    lost, found = _port(server), free_port()
    monkeypatch.setattr(embedded, "free_port", iter([lost, found]).__next__)
    server.stop()
    with _somebody_on(lost), EmbeddedPostgres(home, settings=FAST) as other:
        assert _port(other) == found
        assert _ask(other.url, "select 1") == 1


def test_a_wanted_port_is_not_replaced(server: EmbeddedPostgres, home: Path) -> None:
    """A port that was asked for is the one or none, and the message is Postgres' own."""
    wanted = _port(server)
    server.stop()
    with _somebody_on(wanted), pytest.raises(EmbeddedPostgresError, match="could not bind"):
        EmbeddedPostgres(home, port=wanted).start()
    with EmbeddedPostgres(home, port=wanted) as other:
        assert _port(other) == wanted


def test_connections_need_the_password(server: EmbeddedPostgres) -> None:
    """Other users of the machine can reach the port, and nothing more."""
    url = server.url
    password = urlsplit(url).password
    assert password is not None
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guess"))
    assert password not in repr(server)


def test_only_the_owner_may_read_the_password(server: EmbeddedPostgres, home: Path) -> None:
    """No file that tells about the data is open to others."""
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in home.iterdir()} == dict.fromkeys(
        ("cluster", "lock", "password", "server.log"), "0o0"
    )


def test_a_server_outlives_the_thread_that_started_it(server: EmbeddedPostgres) -> None:
    """The kernel's tie is to the process, not to a passing thread."""
    server.stop()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert _ask(server.url, "select 1") == 1


def test_ctrl_c_does_not_reach_the_server(server: EmbeddedPostgres, home: Path) -> None:
    """The server is in no process group that a terminal would interrupt."""
    assert os.getpgid(_pid(home)) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_kill_9_of_the_parent_leaves_no_server(server_directory: Path) -> None:
    """The server goes with the process that started it, cleanly, and can be started again at once."""
    home = server_directory / "postgres"
    command = [sys.executable, "-c", _PARENT, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        parent.kill()
    with EmbeddedPostgres(home, settings=FAST) as server:
        assert _ask(server.url, "select 1") == 1
    assert "database system was shut down at" in (home / "server.log").read_text()


def test_a_half_made_cluster_is_made_again(server_directory: Path) -> None:
    """What a killed initdb left is not taken for a cluster, and is not in the way."""
    (server_directory / "cluster.new" / "base").mkdir(parents=True)
    with EmbeddedPostgres(server_directory, settings=FAST) as server:
        assert _ask(server.url, "select 1") == 1


def test_a_start_that_fails_says_why_and_leaves_nothing(server: EmbeddedPostgres, home: Path) -> None:
    """The message carries what Postgres said; the directory is free again."""
    server.stop()
    with pytest.raises(EmbeddedPostgresError, match='unrecognized configuration parameter "no_such_setting"'):
        EmbeddedPostgres(home, settings={"no_such_setting": "1"}).start()
    server.start()


def test_a_directory_that_cannot_be_used_is_named(server_directory: Path) -> None:
    """The message says which path stood in the way."""
    (server_directory / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"cannot be started: .*/file"):
        EmbeddedPostgres(server_directory / "file" / "postgres").start()


def test_no_url_before_the_start(server_directory: Path) -> None:
    """A URL without a port would only confuse."""
    with pytest.raises(EmbeddedPostgresError, match="start it first"):
        _ = EmbeddedPostgres(server_directory).url


def test_a_missing_wheel_says_what_to_install(server_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks the programs learns both ways on: install them, or bring a database."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedPostgresError, match=r"uv sync.*DATABASE_URL"):
        EmbeddedPostgres(server_directory)
