"""Promise: the command line answers at once, says in one line what is wrong, and never shows a secret."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import worker
from tests.support.cli import ROOT, SAMPLE, Result, Rooms, hearken, program
from tests.support.workers import start_worker
from worker.cli import hearken as group
from worker.cli.lazy import COMMANDS, listed
from worker.declare.registry import registry

HEAVY = ("psycopg", "pydantic", "structlog", "aiohttp", "stripe", "tenacity", "prometheus_client")
LOADED = f"""
import sys
from worker.cli import hearken
hearken.main(sys.argv[1:], prog_name="hearken", standalone_mode=False)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
AWAY = "postgresql://someone:HIDDEN@127.0.0.1:1/nowhere"


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_load_no_driver(option: str) -> None:
    """What is asked for most often waits for nothing that is heavy to import."""
    command = [sys.executable, "-c", LOADED, option]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *_, loaded = ended.stdout.splitlines()
    assert loaded == "[]"
    assert "hearken" in ended.stdout
    assert ("purchases" in ended.stdout) is (option == "--help")


def test_help_says_of_each_command_what_the_command_says() -> None:
    """Every command in the list is there, takes --help, and has one description."""
    context = click.Context(group)
    for name, text in {**{name: place.help for name, place in COMMANDS.items()}, **listed()}.items():
        command = group.get_command(context, name)
        assert command is not None
        assert (command.name, command.get_short_help_str(200)) == (name, text)
    assert {command.name for command in registry.commands} == set(listed())


def test_public_names_are_those_of_their_modules() -> None:
    """`from worker import …` gives what `__all__` promises, and nothing else."""
    for name in worker.__all__:
        value = getattr(worker, name)
        home = "worker.declare.registry" if inspect.ismethod(value) else value.__module__
        assert getattr(import_module(home), name) == value
    with pytest.raises(AttributeError, match="nonsense"):
        worker.nonsense  # type: ignore[attr-defined]  # noqa: B018


async def test_wrong_usage_exits_with_2(database_url: str) -> None:
    """Unknown commands, missing and malformed arguments: a message, no traceback, nothing done."""
    for result, said in zip(
        await asyncio.gather(
            hearken(database_url, "nonsense"),
            hearken(database_url, "replay"),
            hearken(database_url, "replay", "zero"),
            hearken(database_url, "events", "--since", "yesterday"),
            hearken(database_url, "events", "--since", "1h", "--until", "2h"),
            hearken(database_url, "pause", "note_room"),
            hearken(database_url, "migrate", "--sql", "--json"),
        ),
        ("No such command", "say which events", "'zero'", "'yesterday'", "not before", "--reason", "be combined"),
        strict=True,
    ):
        assert result.code == 2, result
        assert said in result.err
        assert "Traceback" not in result.err
        assert result.out == ""


async def test_a_database_that_is_away_is_one_line() -> None:
    """Exit code 1, and neither a traceback nor the password."""
    for result in await asyncio.gather(
        program(AWAY, "status"), hearken(AWAY, "migrate"), hearken(AWAY, "events", "--follow")
    ):
        assert (result.code, result.out, result.err.count("\n")) == (1, "", 1), result
        assert "cannot be reached" in result.err
        assert "HIDDEN" not in result.err


async def test_settings_are_reported_together_and_without_their_values() -> None:
    """What is missing, misspelt or wrong is named in one message, exit code 2."""
    missing, wrong = await asyncio.gather(
        program(None, "run", HEARKEN_BATCHES="none", HEARKEN_BATCHS="4"), hearken("HIDDEN no url", "status")
    )
    assert (missing.code, wrong.code) == (2, 2)
    assert all(name in missing.err for name in ("DATABASE_URL", "HEARKEN_BATCHES", "HEARKEN_BATCHS"))
    assert "DATABASE_URL" in wrong.err
    assert "HIDDEN" not in wrong.err


async def test_declarations_that_cannot_work_are_refused(database_url: str, tmp_path: Path) -> None:
    """A handler declared twice, a module that is not there: one line that says what to do, exit code 2."""
    twice = "from worker import on\nfor _ in 'ab':\n    @on('public.rooms')\n    async def same(change, ctx): ...\n"
    (tmp_path / "twice.py").write_text(twice)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    double, absent = await asyncio.gather(
        program(database_url, "run", HEARKEN_HANDLERS="twice", PYTHONPATH=path),
        program(database_url, "run", HEARKEN_HANDLERS="no_such_module"),
    )
    assert_one_line(double, 2, "declared twice")
    assert_one_line(absent, 2, "no_such_module")


async def test_an_empty_database_is_told_to_migrate(empty_database_url: str) -> None:
    """Commands that need the log say what makes it."""
    assert_one_line(await hearken(empty_database_url, "events"), 1, "hearken migrate")


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_run_exits_with_0_when_told_to_stop(rooms: Rooms, name: signal.Signals) -> None:
    """A stopped worker is no failure, whether a platform or a person stops it."""
    async with start_worker(rooms.url, [SAMPLE]) as running:
        await running.said("working")
        os.kill(running.pid, name)
        assert await running.ended() == 0


def assert_one_line(result: Result, code: int, said: str) -> None:
    """Check that a command said this and no more."""
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1), result
    assert said in result.err
