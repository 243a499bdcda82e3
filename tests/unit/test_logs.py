"""What a line of the log holds: where it comes from, what was being delivered; and what it never holds."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import structlog
from psycopg import errors

from worker.change import Change
from worker.declare.registry import Registry
from worker.errors import NotMigrated
from worker.telemetry import logs
from worker.telemetry.error_line import error_line
from worker.telemetry.logs import current, delivery_of

SECRET = "hunter2-of-the-row"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def written_at(level: str) -> Lines:
    """Configure logging; returns what gives the lines written since."""
    stream = io.StringIO()
    logs.configure(level, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def a_delivery(*ids: int) -> tuple[str, list[Change]]:
    registry = Registry()

    @registry.on("public.things")
    async def note(change: Change, ctx: object) -> None:
        """Nothing."""

    changes = [
        Change(
            id=i, at=datetime.now(UTC), topic="public.things", op="insert", key=f"k{i}", new_json=f'{{"a": "{SECRET}"}}'
        )
        for i in ids
    ]
    return "note", changes


def fail() -> None:
    try:
        os.environ[SECRET]
    except KeyError as error:
        raise ValueError(f"bad row: {SECRET}") from error


def test_every_line_is_json_with_its_level_time_and_logger() -> None:
    """Ours and those of libraries alike; `extra` of the standard library's becomes fields."""
    lines = written_at("info")
    structlog.get_logger("ours").info("started", port=1)
    logging.getLogger("theirs").warning("slow %s", "query", extra={"seconds": 2})
    ours, theirs = lines()
    assert {**ours, "timestamp": ""} == {
        "event": "started", "port": 1, "logger": "ours", "level": "info", "timestamp": "",
    }  # fmt: skip
    assert (theirs["event"], theirs["seconds"], theirs["logger"], theirs["level"]) == (
        "slow query", 2, "theirs", "warning",
    )  # fmt: skip
    assert ours["timestamp"].endswith("Z")


def test_the_level_counts_for_everybody() -> None:
    """Nothing below it is written, whoever writes."""
    lines = written_at("warning")
    structlog.get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    structlog.get_logger("ours").warning("yes")
    assert [line["event"] for line in lines()] == ["yes"]


def test_pythons_warnings_are_lines_too() -> None:
    """A deprecation in a library does not break the JSON."""
    lines = written_at("info")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)
    (line,) = lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


async def test_what_is_being_delivered_is_bound_whoever_writes() -> None:
    """Handler, event, key and attempt: with structlog, the standard library, and in tasks a handler starts."""
    lines = written_at("info")
    token = current.set(delivery_of(*a_delivery(7)))

    async def inner() -> None:
        logging.getLogger("a.library").info("three")

    try:
        structlog.get_logger().info("one")
        logging.getLogger("mine").info("two")
        await asyncio.create_task(inner())
    finally:
        current.reset(token)
    structlog.get_logger().info("afterwards")
    *bound, afterwards = lines()
    assert len(bound) == 3
    for line in bound:
        assert (line["handler"], line["event_id"], line["key"], line["attempt"]) == ("note", 7, "k7", 1)
    assert "event_id" not in afterwards


def test_in_a_batch_of_several_events_their_range_is_bound() -> None:
    """No one of them is the one: how many, and the first and last id."""
    lines = written_at("info")
    token = current.set(delivery_of(*a_delivery(7, 8, 9)))
    structlog.get_logger().info("one")
    current.reset(token)
    (line,) = lines()
    assert (line["events"], line["first_event_id"], line["last_event_id"]) == (3, 7, 9)
    assert "key" not in line


@pytest.mark.parametrize("name", ["structlog", "logging"])
def test_of_an_exception_the_class_and_the_place_are_told(name: str) -> None:
    """And of its cause; never its text, which may hold a row's values."""
    lines = written_at("info")
    logger = structlog.get_logger("ours") if name == "structlog" else logging.getLogger("theirs")
    try:
        fail()
    except ValueError:
        logger.exception("failed")
    (line,) = lines()
    assert SECRET not in json.dumps(line)
    trace = line["exception"].splitlines()
    assert (trace[-1], trace.index("builtins.KeyError") < trace.index("which led to")) == ("builtins.ValueError", True)
    assert "in fail" in line["exception"]


def test_at_debug_level_the_text_is_told() -> None:
    """Who debugs wants it."""
    lines = written_at("debug")
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("failed")
    assert f"ValueError: bad row: {SECRET}" in lines()[0]["exception"]


def test_groups_and_circles_of_exceptions_are_told() -> None:
    """A task group's members are named; an exception that is its own cause ends."""
    lines = written_at("info")
    group = ExceptionGroup(SECRET, [ValueError(SECRET), OSError(SECRET)])
    group.__cause__ = group
    structlog.get_logger().error("failed", exc_info=group)
    (line,) = lines()
    assert line["exception"].splitlines() == [
        "builtins.ExceptionGroup", "contains", "builtins.ValueError", "contains", "builtins.OSError",
    ]  # fmt: skip


def test_a_terminal_gets_no_local_variables_either() -> None:
    """For eyes it is no JSON; what it holds is the same."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure("info", stream=stream)
    try:
        fail()
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    assert "failed" in stream.getvalue()
    assert "builtins.ValueError" in stream.getvalue()
    assert SECRET not in stream.getvalue()
    logs.configure("info", stream=stream, as_json=True)
    structlog.get_logger("ours").info("as asked")
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "as asked"


def test_one_line_about_an_error_holds_no_values(database_url: str) -> None:
    """The engine's own text is for operators; the server's messages that quote rows are left out; others' always."""
    assert error_line(NotMigrated("run\n  it")) == "run it"
    assert error_line(ValueError(SECRET)) == "ValueError"
    assert error_line(ConnectionRefusedError(111, "Connection refused")) == "ConnectionRefusedError: Connection refused"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table people (name text constraint no_twins unique)")
        connection.execute("insert into people values (%s)", (SECRET,))
        with pytest.raises(errors.UniqueViolation) as twice:
            connection.execute("insert into people values (%s)", (SECRET,))
        with pytest.raises(errors.InvalidTextRepresentation) as unfit:
            connection.execute("select %s::text::int", (SECRET,))
        with pytest.raises(errors.UndefinedTable) as missing:
            connection.execute("select from nowhere")
    assert error_line(twice.value) == "UniqueViolation: constraint no_twins, table people"
    assert error_line(unfit.value) == "InvalidTextRepresentation"
    assert error_line(missing.value) == 'UndefinedTable: relation "nowhere" does not exist'
    assert "hunter2" not in error_line(_unreachable())


def _unreachable() -> psycopg.Error:
    with pytest.raises(psycopg.OperationalError) as away:
        psycopg.connect("postgresql://nobody:hunter2@127.0.0.1:1/nothing")
    return away.value
