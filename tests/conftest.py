"""What holds for every test: which are slow, and fixtures with a Postgres and databases on it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import create_template, new_database, server_in, temporary_directory
from worker.dev.embedded import EmbeddedPostgres

_TESTS = Path(__file__).parent
# What is slow: programs that are started and killed, clocks and probes, large logs, fuzzers, broken servers.
# Single tests with much to do in a quick file are marked where they stand.
_SLOW_FILES = (
    *("docs/*", "faults/*", "system/*", "flow/*_secrets.py", "flow/*_program.py"),
    *("flow/test_canary.py", "flow/test_http_*.py", "flow/*_probes.py", "flow/test_ticking_on_time.py"),
    *("db/*plans.py", "flow/test_openapi.py", "flow/test_endpoint*.py"),
    *("db/test_doctor_server.py", "unit/test_embedded.py"),
    # What goes through a whole kind of input, one by one.
    *("db/test_capture_values.py", "db/test_capture_altered.py", "db/test_capture_keys.py", "db/test_enrolment.py"),
    *("db/test_connections_cleaned.py", "flow/test_one_bad_event.py", "flow/test_meaning*.py", "unit/test_change.py"),
    *("flow/test_borrowed_connections.py", "flow/test_reconcile.py", "flow/test_sessions_*.py", "flow/test_brake.py"),
    *("flow/test_retention.py", "db/test_trigger_status.py"),
)
# A server of the test's own, or a PostgREST.
_SLOW_FIXTURES = {"postgres", "server_directory", "club"}


def pytest_configure() -> None:
    """Undo what a shell does to a run in the background: programs that tests start would not hear Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones: `-m "not slow"` is what one runs while one writes."""
    for item in items:
        path = item.path.relative_to(_TESTS)
        there = any(path.match(pattern) for pattern in _SLOW_FILES)
        if there or not _SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


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
        server_in(Path(directory) / "postgres") as server,
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
    with server_in(server_directory / "postgres") as server:
        yield server
