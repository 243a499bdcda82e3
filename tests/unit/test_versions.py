"""Promise: the tests run on whichever Postgres HEARKEN_TEST_POSTGRES names, and on no other by mistake."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.support import versions
from tests.support.parts import needed
from tests.support.postgres import server_in
from worker.dev.programs import find_programs


@pytest.mark.parametrize("version", [versions.DEFAULT, 15])
def test_the_named_version_is_what_runs(server_directory: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """That of the dev group, and one from npm."""
    name = "" if version == versions.DEFAULT else str(version)
    postgres = needed(lambda: versions.named(name))
    monkeypatch.setattr("tests.support.postgres.tested", lambda: postgres)
    with (
        server_in(server_directory / "postgres") as server,
        psycopg.connect(server.url) as connection,
    ):
        assert connection.info.server_version // 10000 == version


def test_a_folder_with_programs_says_its_version() -> None:
    """Whoever has an installation of their own names the folder."""
    folder = find_programs(18)
    assert versions.named(str(folder)) == versions.Postgres(18, folder)


@pytest.mark.parametrize("name", ["9", "/no/such/folder"])
def test_what_is_no_postgres_is_refused(name: str) -> None:
    """Not replaced by the one that is there: the tests would say nothing of what was asked for."""
    with pytest.raises(LookupError, match=f"{versions.VARIABLE}={name}"):
        versions.named(name)
