"""The README is run: its commands, its examples, its SQL, and the facts in its tables."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from handlers.packages import CrmSettings
from handlers.spaces import sync_space
from handlers.stripe import StripeSettings
from handlers.stripe.local import LocalStripe
from tests.support.cli import program, start
from tests.support.served import execute
from tests.support.waiting import eventually
from tests.support.workers import start_worker
from worker.cli.status import HEADINGS
from worker.declare.registry import Registry, registry
from worker.settings import Settings
from worker.testing import bench

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = ("publish_room", "clear_board", "rename", "reconcile_spaces")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def _sql(part: str) -> str:
    """The one block of SQL that has this in it."""
    (block,) = [block for block in _blocks("sql") if part in block]
    return block


def _commands() -> list[list[str]]:
    lines = [line[2:] for block in _blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [re.findall(r'"[^"]*"|\S+', line) for line in lines]


@pytest.fixture
async def stripe() -> AsyncIterator[LocalStripe]:
    async with LocalStripe() as server:
        yield server


def _environment(stripe: LocalStripe) -> dict[str, str]:
    return {"HEARKEN_HANDLERS": "handlers", "STRIPE_SECRET_KEY": stripe.key, "STRIPE_API_BASE": stripe.url}


def test_the_first_screen_has_the_two_commands() -> None:
    """The demo and the tests are the first commands a reader sees; test_dev runs the demo itself."""
    assert [" ".join(words) for words in _commands()[:2]] == [
        "pip install uv && uv run hearken dev --demo",
        "uv run pytest",
    ]


async def test_every_command_to_operate_works(database_url: str, stripe: LocalStripe) -> None:
    """The commands, in the order they stand in, on a database with one space."""
    commands = [words[1:] for words in _commands() if words[0] == "hearken"]
    assert (await program(database_url, "migrate", **_environment(stripe))).code == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into public.spaces (name, capacity, price_per_hour) values ('Blue', 4, 20)")
    assert len(commands) == 15
    for arguments in commands:
        result = await program(database_url, *(word.strip('"') for word in arguments), **_environment(stripe))
        assert result.code == 0, f"hearken {' '.join(arguments)}: {result.err or result.out}"


def _symptoms() -> list[tuple[str, str]]:
    """The table of "When something is wrong": each command without `hearken`, and what to read."""
    page = README.read_text("utf-8").partition("### When something is wrong")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| [^|]+ \| `hearken ([^|`]+)` \| ([^|]+) \|$", page, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| ", page, re.MULTILINE)) - 2, "a row that names no command"
    return rows


async def test_every_command_for_when_something_is_wrong_answers(database_url: str, stripe: LocalStripe) -> None:
    """With a handler that is paused and a trigger that is off: an answer for each, and no wrong usage."""
    environment = _environment(stripe)
    assert (await program(database_url, "migrate", **environment)).code == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into public.spaces (name, capacity, price_per_hour) values ('Blue', 4, 20)")
        connection.execute("insert into hearken.paused (handler, by, reason) values ('sync_space', 'me', 'why')")
        connection.execute("alter table spaces disable trigger hearken_update")
    commands = sorted({command for command, _ in _symptoms()})
    operating = {"doctor", "status", "explain", "reconcile", "backfill", "replay", "dead", "resume"}
    assert operating <= {command.split()[0] for command in commands}
    for command in commands:
        result = await program(database_url, *command.split(), **environment)
        assert result.code in (0, 1), f"hearken {command}: {result.err or result.out}"
        assert result.out + result.err, f"hearken {command} says nothing"
        assert "Traceback" not in result.err, result.err


async def test_what_to_read_is_there(database_url: str, stripe: LocalStripe) -> None:
    """Each line that the table names is one that the doctor says, each column one of `hearken status`."""
    environment = _environment(stripe)
    assert (await program(database_url, "migrate", **environment)).code == 0
    said = (await program(database_url, "doctor", "--json", **environment)).json
    there = {
        "doctor": {finding["name"] for finding in said} | {"✓", "/readyz", "schedules"},
        "status": {*HEADINGS, "hearken.canary", "hearken.parked"},
    }
    for command, text in _symptoms():
        if command in there:
            assert set(re.findall(r"`([^`]+)`", text)) <= there[command], f"hearken {command}: {text}"


@pytest.mark.parametrize("page", [README, README.parent / "bench" / "README.md"])
def test_running_text_has_short_lines(page: Path) -> None:
    """At most 120 characters, code and tables aside."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_example_handler_is_short() -> None:
    """A handler of one's own takes at most twelve lines, blank ones aside."""
    assert len([line for line in _blocks("python")[0].splitlines() if line.strip()]) <= 12


async def test_the_example_handler_and_its_test_work(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of the README pass the tests of the README."""
    for name in EXAMPLES:
        monkeypatch.delitem(registry.handlers, name, raising=False)
    # Among the modules while it is run: what it returns is described by its annotations, which are looked up there.
    module: Any = ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, "readme_example", module)
    for block in _blocks("python"):
        exec(compile(ast.parse(block), str(README), "exec"), module.__dict__)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create table rooms (id int generated always as identity primary key, name text, seats int)")
        connection.execute("create table board (room text primary key, name text)")
    try:
        await module.test_a_room_is_on_the_board(empty_database_url)
        await module.test_the_board_is_cleared(empty_database_url)
        await module.test_a_room_is_renamed(empty_database_url)
    finally:
        for name in EXAMPLES:
            registry.handlers.pop(name)


async def test_a_note_is_kept_with_the_event(database_url: str, stripe: LocalStripe) -> None:
    """The SQL by which an application says who and why ends up in the log."""
    note = _sql("hearken.note")
    async with bench(database_url, sync_space) as stage, stage.connection.transaction():
        await stage.execute(note)
        await stage.execute("insert into public.spaces (name) values ('Blue')")
        (event,) = await stage.execute("select note from hearken.events")
    assert event["note"] == {"by": "anna", "why": "new price list"}


async def test_the_least_rights_are_enough(database_url: str, stripe: LocalStripe) -> None:
    """A worker with the role that the README grants becomes ready, answers its probes, and writes to Stripe."""
    environment = _environment(stripe)
    assert (await program(database_url, "migrate", **environment)).code == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop role if exists hearken_worker")
        connection.execute(_sql("create role").encode())
        connection.execute("alter role hearken_worker password 'worker'")
    try:
        url = make_conninfo(database_url, user="hearken_worker", password="worker")
        del environment["HEARKEN_HANDLERS"]
        environment["HEARKEN_CANARY_SECONDS"] = "0.5"
        async with start_worker(url, ["handlers"], None, **environment) as worker:
            await worker.said("working")
            await worker.said("listening")
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("insert into public.spaces (name, capacity, price_per_hour) values ('Blue', 4, 20)")
            await stripe.wait_for(lambda calls: any(c.path.endswith("/products/space_1") for c in calls))
            port = (await worker.said("listening for HTTP"))["port"]
            assert await _probe(port) == {"/livez": 200, "/readyz": 200}
            await _until_a_beat_is_back(database_url)
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("drop owned by hearken_worker")
            connection.execute("drop role hearken_worker")
    assert conninfo_to_dict(url)["user"] == "hearken_worker"


async def _until_a_beat_is_back(url: str) -> None:
    """Nothing tells of it: ask."""
    await eventually(lambda: execute(url, "select from hearken.canary where returned > 0"), "beat")


async def _probe(port: int) -> dict[str, int]:
    paths = re.findall(r"path: (/\w+)", _blocks("yaml")[0])
    async with aiohttp.ClientSession() as session:
        return {path: (await session.get(f"http://127.0.0.1:{port}{path}")).status for path in paths}


def _documented() -> dict[str, str]:
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", README.read_text("utf-8"), re.MULTILINE)
    settings: dict[str, str] = {}
    for names, defaults in rows:
        variables = re.findall(r"`(\w+)`", names)
        values = [value.strip().strip("`") for value in defaults.split(",")]
        settings |= dict(zip(variables, values * len(variables) if len(values) == 1 else values, strict=False))
    return settings


def test_every_setting_is_in_the_table_with_its_default() -> None:
    """No setting is left out or made up, and each default that is a value is the code's."""
    fields = {str(f.alias): f for c in (Settings, StripeSettings, CrmSettings) for f in c.model_fields.values()}
    documented = _documented()
    assert documented.keys() == fields.keys()
    for name, default in documented.items():
        if default == "required":
            assert fields[name].is_required(), name
        elif name not in {"PORT", "HEARKEN_HOST", "STRIPE_API_BASE"} and default != "none":
            assert str(fields[name].default).removesuffix(".0") == default, name


def test_every_option_of_on_is_in_the_table() -> None:
    """The table of `@on` has its options, and no others, with the defaults that it names."""
    text = README.read_text("utf-8")
    table = text[text.index("| option of `@on`") : text.index("A handler returns when")]
    options = dict(re.findall(r"`(\w+)=(.*?)`", table))
    parameters = inspect.signature(Registry.on).parameters
    assert options.keys() == parameters.keys() - {"self", "topic"}
    for name in ("concurrency", "shards", "batch", "timeout", "attempts"):
        assert float(options[name]) == parameters[name].default


def test_every_option_of_every_is_in_the_table_or_named() -> None:
    """Those that are `@on`'s too are named below the table; the others are in it, with their defaults."""
    text = README.read_text("utf-8")
    table, _, below = text[text.index("| option of `@every`") : text.index("## Spaces and Stripe")].partition("\n\n")
    options = dict(re.findall(r'`(\w+)="(.*?)"`', table))
    parameters = inspect.signature(Registry.every).parameters
    own = parameters.keys() - inspect.signature(Registry.on).parameters.keys() - {"cron"}
    assert options.keys() == own
    assert {name: parameters[name].default for name in ("tz", "catch_up")} == {"tz": "UTC", "catch_up": "one"}
    assert (options["tz"], options["catch_up"]) == ("UTC", "one")
    shared = below[: below.index(" are as for `@on`")]
    assert set(re.findall(r"`(\w+)`", shared)) == parameters.keys() - own - {"self", "cron"}


def test_every_option_of_endpoint_is_in_the_table_or_named() -> None:
    """As for `@every`."""
    text = README.read_text("utf-8")
    table, _, below = text[text.index("| option of `@endpoint`") :].partition("\n\n")
    options = dict(re.findall(r"`(\w+)=(.*?)`", table))
    parameters = inspect.signature(Registry.endpoint).parameters
    assert options.keys() == parameters.keys() - inspect.signature(Registry.on).parameters.keys() - {"name", "path"}
    assert (float(options["wait"]), int(options["rate"])) == (parameters["wait"].default, parameters["rate"].default)
    shared = below[: below.index(" are as for `@on`")]
    assert set(re.findall(r"`(\w+)`", shared)) == parameters.keys() - options.keys() - {"self", "name", "path"}


async def test_the_request_by_curl_is_answered(empty_database_url: str, tmp_path: Path) -> None:
    """The line of the section Requests, to a worker that has the handler above it; and both commands named there."""
    (tmp_path / "rooms.py").write_text("\n".join(block for block in _blocks("python") if "import bench" not in block))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create table rooms (id int primary key, name text, seats int)")
        connection.execute("insert into rooms values (7, 'Green')")
    environment = {"HEARKEN_HANDLERS": "rooms", "PYTHONPATH": str(tmp_path), "CRON_SECRET": "correct horse battery"}
    assert (await program(empty_database_url, "migrate", **environment)).code == 0
    (curl,) = [block for block in _blocks("sh") if block.startswith("curl")]
    async with start(empty_database_url, "run", PORT="0", HEARKEN_HOST="127.0.0.1", **environment) as worker:
        assert worker.stderr is not None
        port = ""
        async for line in worker.stderr:
            port = str(json.loads(line).get("port", port))
            if b"working" in line:
                break
        shell = await asyncio.create_subprocess_shell(
            curl.replace("8080", port), env={**os.environ, **environment}, stdout=PIPE, stderr=PIPE
        )
        out, _ = await shell.communicate()
        assert out == b'{"renamed": 1}'
        (job,) = re.findall(r"`hearken (job .*?)`", README.read_text("utf-8"), re.DOTALL)
        done = await program(empty_database_url, *shlex.split(job), "--json", **environment)
        assert done.json["result"] == {"renamed": 1}
    assert (await program(empty_database_url, "runs", **environment)).code == 0


def test_the_procfile_is_as_described() -> None:
    """Heroku migrates on release and runs a worker."""
    assert (README.parent / "Procfile").read_text() == (
        "release: python -m worker migrate\nworker: python -m worker run\n"
    )
