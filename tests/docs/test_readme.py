"""The README is run: its first two commands, and its handler with its test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.examples import examples
from tests.support.pages import ROOT, Block, page, runs

README = page("README.md")
FIRST, SECOND = README.all("console")[:2]
ROOMS = """
create table rooms (id int generated always as identity primary key, name text, seats int);
create table board (room text primary key, name text)
"""
# A pip that refuses to touch the system, as Debian's does (PEP 668); any venv's own comes before it on the path.
PIP = "#!/bin/sh\necho 'error: externally-managed-environment' >&2\nexit 1\n"


@runs(FIRST, SECOND)
def test_the_first_screen_has_the_two_commands(blocks: tuple[Block, Block]) -> None:
    """The demo and the tests are the first commands a reader sees, each on one line."""
    demo, tests = blocks
    assert len(demo.commands) == 1
    assert demo.commands[0].endswith("uv run hearken dev --demo")
    assert tests.commands == ["uv run pytest"]
    assert README.text.index("```console") < README.text.index("\n## A handler")


@runs(FIRST)
def test_the_first_command_works_where_pip_may_not_touch_the_system(blocks: tuple[Block], tmp_path: Path) -> None:
    """As it is typed in a fresh clone, with a system's pip that refuses: the demo plays to its end."""
    clone = tmp_path / "a clone"
    _copy_what_is_committed(clone)
    system = tmp_path / "system"
    system.mkdir()
    (system / "pip").write_text(PIP)
    (system / "pip").chmod(0o755)
    (system / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    tried = subprocess.run(
        ["/bin/sh", "-c", blocks[0].commands[0]],
        cwd=clone,
        env=_environment(system),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if "No matching distribution found for uv" in tried.stderr and "CI" not in os.environ:
        pytest.skip("pip finds no package index from here, which the first command needs")
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.rstrip().endswith("Everything is as it should be.")


def _copy_what_is_committed(clone: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)


def _environment(system: Path) -> dict[str, str]:
    ours = ("VIRTUAL_ENV", "UV_PROJECT", "UV_NO_SYNC", "DATABASE_URL", "PORT", "STRIPE_", "HEARKEN_", "CRM_", "PG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{system}:/usr/bin:/bin"}


def test_the_example_handler_is_short() -> None:
    """A handler of one's own takes at most twelve lines, blank ones aside."""
    assert len([line for line in README.all("python")[0].text.splitlines() if line.strip()]) <= 12


@runs(*README.all("python"))
async def test_the_example_handler_passes_the_example_test(blocks: tuple[Block, ...], empty_database_url: str) -> None:
    """As it stands there, on a database that has the tables."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(ROOMS.encode())
    with examples(blocks) as module:
        await module.test_a_room_is_on_the_board(empty_database_url)


def test_the_procfile_is_as_described() -> None:
    """It migrates on release and runs a worker, by the commands that the README names."""
    release, worker = "python -m worker migrate", "python -m worker run"
    assert (ROOT / "Procfile").read_text() == f"release: {release}\nworker: {worker}\n"
    assert {release, worker} <= set(README.code)
