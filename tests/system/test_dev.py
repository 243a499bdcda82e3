"""`hearken dev` needs nothing but Python, shows what happens, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import LiteralString
from urllib.request import urlopen

import psycopg
import pytest

from handlers.sessions.demo import HOUR_LATER, PAY, SCAN, START
from handlers.spaces.demo import DELETE, INSERT, UPDATE
from handlers.stripe.local import LocalStripe
from tests.support.dev import RunningDev, environment, processes_in, run_dev, running_dev
from worker.dev.ports import free_port

_TELL: LiteralString = """
create function told() returns trigger language plpgsql as
    'begin perform pg_notify(''told'', new.stripe_product_id); return new; end';
create trigger told after update of stripe_product_id on spaces for each row execute function told()
"""

_DYING = """
from handlers.spaces.demo import INSERT
from worker import Park, demo, on

@on("public.spaces")
async def refuse(change, ctx):
    raise Park("this is a test")

@demo("dying")
async def play(stage):
    await stage.delivered(await stage.run(INSERT), "refuse")
    await stage.run("update spaces set name = name")
"""
_ENDLESS = """
import asyncio
from worker.dev.playing import play_all
from worker.declare.registry import Registry

registry = Registry()
registry.demo("endless")(lambda stage: asyncio.Event().wait())
asyncio.run(play_all(registry, deadline=0.2))
"""


@pytest.fixture
def folder(server_directory: Path) -> Path:
    """A project's folder: with a space in its path, below one that only its owner may pass through."""
    closed = server_directory / "my own"
    closed.mkdir(mode=0o700)
    project = closed / "project"
    project.mkdir()
    return project


@contextmanager
def _started(folder: Path, **more: str) -> Iterator[tuple[RunningDev, str]]:
    """A `hearken dev` that is ready, and the line to paste into a shell."""
    with running_dev(folder, more=more) as dev:
        psql = dev.read_until("database")
        dev.read_until("Ready.")
        yield dev, psql


def _ask(psql: str, query: str) -> str:
    """Paste the line into a shell, as it is, and ask something."""
    asked = f"{psql} -X -At -c {shlex.quote(query)}"
    return subprocess.run(["/bin/sh", "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def _url(psql: str) -> str:
    return shlex.split(psql)[-1]


def assert_told(stdout: str, expected: list[str]) -> None:
    """Check that these come in this order, wherever lines are broken."""
    told, place = stdout.replace("\n            ", " "), 0
    for part in expected:
        place = told.find(part, place)
        assert place >= 0, f"{part!r} does not come in its turn in:\n{stdout}"


def test_the_demo_tells_the_way_of_a_purchase(folder: Path, empty_database_url: str) -> None:
    """Paid, scanned, active, over: after each the purchase is looked at, and what that took is told."""
    ended = run_dev(folder, "--demo", DATABASE_URL=empty_database_url, HEARKEN_HANDLERS="handlers.sessions")
    assert (ended.returncode, ended.stderr) == (0, "")
    done = ["follow_session done with event ", " ms after the commit", "session_status: "]
    expected = [
        *(PAY, "'pending' → 'completed'", "complete_purchase done with event ", " ms after the commit", "invoice INV-"),
        *(SCAN, "insert of public.active_game_sessions_v2 1", *done, "ready"),
        *(START, "status 'ready' → 'active'", *done, "active"),
        *(HOUR_LATER, "status 'active' → 'completed'", *done, "completed"),
        *("session_events: ready, active, completed", "Everything is as it should be."),
    ]
    assert_told(ended.stdout, expected)


def test_the_demo_tells_the_whole_way_of_three_statements(folder: Path) -> None:
    """Statement, event, effects, latency and Stripe's own word for each; nothing is left of it, in colour or else."""
    ended = run_dev(folder, "--demo", TMPDIR=str(folder.parent))
    assert (ended.returncode, ended.stderr) == (0, "")
    expected = [
        *(INSERT, ": insert of public.spaces 1", "price_per_hour 25.00", "product.create space_1, "),
        *("price.create price_", "unit_amount 2500", "sync_space done with event ", " ms after the commit"),
        "space_1 at Stripe: 'Test Space', active, sold at 2500 eur",
        *(UPDATE, "update of public.spaces 1", "name 'Test Space' → 'Test Space Updated'", "25.00 → 30.00"),
        *("product.update space_1", "price.create price_", "unit_amount 3000", "price.archive price_"),
        "space_1 at Stripe: 'Test Space Updated', active, sold at 3000 eur",
        *(DELETE, "delete of public.spaces 1", "product.archive space_1", "active true → false"),
        *("space_1 at Stripe: archived", "prices: 2500 eur, 3000 eur", "Everything is as it should be."),
    ]
    assert_told(ended.stdout, expected)
    assert "\x1b" not in ended.stdout
    assert [path.name for path in folder.parent.iterdir()] == ["project"]
    assert not list(folder.iterdir())
    assert not processes_in(folder.parent)


async def test_demos_at_a_stripe_that_lasts_do_not_meet(folder: Path) -> None:
    """With a key the account is somebody's: each demo has a product of its own, and leaves it archived."""
    async with LocalStripe() as server:
        key = {"STRIPE_SECRET_KEY": server.key, "STRIPE_API_BASE": server.url}
        demos = (asyncio.to_thread(run_dev, folder, "--demo", **key) for _ in range(2))
        for ended in await asyncio.gather(*demos):
            assert ended.returncode == 0, ended.stderr
            assert f"{server.account}, test mode, at {server.url}" in ended.stdout
            assert server.key not in ended.stdout + ended.stderr
        assert [product["active"] for product in server.state()["products"]] == [False, False]


def test_a_demo_whose_event_dies_ends_with_the_reason(folder: Path, empty_database_url: str) -> None:
    """Nothing more is waited for. A handler and a demo of one's own are found like ours."""
    (folder / "dying.py").write_text(_DYING)
    ended = run_dev(folder, "--demo", DATABASE_URL=empty_database_url, HEARKEN_HANDLERS="handlers,dying")
    assert ended.returncode == 1
    # Its number is any: the canary's events have numbers, too.
    told = re.search(r"event (\d+): insert of public.spaces", ended.stdout)
    assert told, ended.stdout + ended.stderr
    assert f"hearken: refuse: event {told[1]} is dead, this is a test" in ended.stderr
    assert "set name = name" not in ended.stdout


def test_a_demo_has_a_deadline(folder: Path, empty_database_url: str) -> None:
    """What does not come to an end is ended, and what it waited for is said."""
    ended = subprocess.run(
        [sys.executable, "-c", _ENDLESS],
        cwd=folder,
        env=environment(DATABASE_URL=empty_database_url),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "the demo 'endless' did not finish within 0.2 s; it was waiting for its first statement" in ended.stderr


def test_a_demo_that_cannot_reach_stripe_says_so(folder: Path, empty_database_url: str) -> None:
    """It ends at once and with an error, rather than wait for its deadline."""
    key = {"STRIPE_SECRET_KEY": "sk_test_closed", "STRIPE_API_BASE": f"http://127.0.0.1:{free_port()}"}
    ended = run_dev(folder, "--demo", DATABASE_URL=empty_database_url, **key)
    assert ended.returncode == 1
    assert "stripe is not ready: Stripe did not answer" in ended.stderr
    assert "as it should be" not in ended.stdout


@pytest.mark.parametrize("argument", [(), ("--demo",)])
def test_a_live_key_is_refused(folder: Path, argument: tuple[str, ...]) -> None:
    """Before anything is started; the message names the variable and what to do, and not the key."""
    ended = run_dev(folder, *argument, STRIPE_SECRET_KEY="sk_live_secret")
    assert ended.returncode == 2
    assert "STRIPE_SECRET_KEY is not for test data" in ended.stderr
    assert "sk_live_secret" not in ended.stderr
    assert not processes_in(folder)


def test_a_demo_on_a_server_that_is_given_leaves_it_as_it_was(folder: Path, empty_database_url: str) -> None:
    """It plays in a database of its own there, whatever that of DATABASE_URL holds."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        databases: LiteralString = "select array_agg(datname order by datname) from pg_database"
        before = connection.execute(databases).fetchone()
        ended = run_dev(folder, "--demo", DATABASE_URL=empty_database_url)
        assert ended.returncode == 0, ended.stderr
        assert connection.execute(databases).fetchone() == before
        assert connection.execute("select to_regnamespace('hearken')").fetchone() == (None,)


def test_dev_runs_until_ctrl_c_and_leaves_nothing_running(folder: Path) -> None:
    """What it prints works as it is, a committed row reaches Stripe, and the end is clean."""
    with _started(folder) as (dev, psql):
        with psycopg.connect(_url(psql), autocommit=True) as connection:
            connection.execute(_TELL)
            connection.execute("listen told")
            assert _ask(psql, INSERT) == "INSERT 0 1"
            told = [notify.payload for notify in connection.notifies(timeout=20, stop_after=1)]
        assert told == ["space_1"]
        assert dev.end() == 0
    assert not processes_in(folder)


def test_neither_psql_nor_the_usual_port_is_needed(folder: Path) -> None:
    """The line to paste works on a machine without Postgres, and HTTP moves out of another program's way."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody has the port already, which is as good
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        with running_dev(folder, more={"PATH": str(Path(sys.executable).parent)}) as dev:
            dev.read_until("Port 8080 is taken")
            psql = dev.read_until("database")
            with urlopen(dev.read_until("health")) as answer:
                assert answer.status == 200
            assert Path(shlex.split(psql)[0]).is_absolute()
            assert _ask(psql, "select 6 * 7") == "42"
            assert dev.end(signal.SIGTERM) == 0


def test_a_second_dev_in_the_same_folder_is_refused(folder: Path) -> None:
    """It says who is there already, and where."""
    with _started(folder) as (first, _):
        refused = run_dev(folder)
        assert refused.returncode == 2
        assert f"already running in {folder / '.hearken'} (process {first.process.pid})" in refused.stderr
        assert first.end() == 0


def test_however_it_ended_the_next_start_works_with_what_was_committed(folder: Path) -> None:
    """Neither Ctrl-C during the start nor kill -9 leaves anything in the way; Stripe is the same account."""
    with running_dev(folder) as dev:
        dev.read_until("Starting")
        assert dev.end() == 0
    assert not processes_in(folder)
    with _started(folder) as (dev, psql):
        _ask(psql, INSERT)
        account = next(line for line in dev.lines if "account acct_local" in line)
        dev.end(signal.SIGKILL)
    with _started(folder) as (dev, psql):
        assert _ask(psql, "select name from spaces") == "Test Space"
        assert account.partition(" at ")[0] in "".join(dev.lines)
        assert dev.end() == 0


def test_a_database_that_is_given_is_used_and_its_password_is_not_shown(folder: Path, empty_database_url: str) -> None:
    """It is migrated and worked on, and stays; no Postgres is started beside it."""
    password = psycopg.conninfo.conninfo_to_dict(empty_database_url)["password"]
    with _started(folder, DATABASE_URL=empty_database_url) as (dev, psql):
        assert "host=127.0.0.1" in psql
        assert not (folder / ".hearken" / "postgres").exists()
        assert dev.end() == 0
    assert str(password) not in "".join(dev.lines)
    with psycopg.connect(empty_database_url) as connection:
        assert ("sync_space",) in connection.execute("select handler from hearken.cursors").fetchall()
