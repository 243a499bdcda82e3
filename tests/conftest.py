"""Fixtures of every test: a Postgres, and databases on it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import FAST, create_template, new_database, temporary_directory
from worker.dev.embedded import EmbeddedPostgres


def pytest_configure() -> None:
    """Undo what a shell does to a run in the background: programs that tests start would not hear Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server_directory() -> Iterator[Path]:
    """A directory for a server of the test's own. Unlike `tmp_path`, it goes with the test."""
    with temporary_directory() as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[EmbeddedPostgres]:
    """The server of this test process. Tests never stop it; those that must use `postgres`."""
    with (
        temporary_directory() as directory,
        EmbeddedPostgres(Path(directory) / "postgres", settings=FAST) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def template_database(shared_postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that `database_url` clones."""
    return create_template(shared_postgres)


@pytest.fixture
def database_url(shared_postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with new_database(shared_postgres, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(shared_postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own, with nothing in it."""
    with new_database(shared_postgres, "template0") as url:
        yield url


@pytest.fixture
def postgres(server_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, running, to stop, kill and restart."""
    with EmbeddedPostgres(server_directory / "postgres", settings=FAST) as server:
        yield server
