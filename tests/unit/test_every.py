"""Promise: a schedule declared in a way that cannot work is refused when it is declared, and told what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

import worker
from worker import Change, Context
from worker.declare.cron import Schedule
from worker.declare.handler import Handler, Subscription
from worker.declare.registry import Registry, registry
from worker.errors import DeclarationError

NIGHTLY = "0 2 * * *"


async def sweep(change: Change, ctx: Context) -> None:
    """A handler."""


async def other(change: Change, ctx: Context) -> None:
    """Another."""


async def sweep_all(changes: Sequence[Change], ctx: Context) -> None:
    """A transactional one."""


def declare(cron: Any = NIGHTLY, /, function: Any = sweep, into: Registry | None = None, **options: Any) -> Handler:
    declared = into or Registry()
    assert declared.every(cron, **options)(function) is function
    return declared.handlers[function.__name__]


def test_what_is_left_out_has_a_default() -> None:
    """The function's name, UTC, the newest of what was missed; one cursor over tick/NAME."""
    handler = declare()
    assert handler.schedule == Schedule("sweep", NIGHTLY, "UTC", "one")
    assert handler.subscription == Subscription("tick/sweep", ("tick",))
    assert (handler.topic, handler.is_table) == ("tick/sweep", False)
    assert (handler.transactional, handler.shards, handler.batch, handler.timeout, handler.attempts) == (
        False,
        1,
        1000,
        60.0,
        12,
    )


def test_options_are_kept() -> None:
    """A name of its own is the topic's; the handler is still called as its function is."""
    handler = declare(
        function=sweep_all,
        name="nightly.sweep",
        tz="Europe/Berlin",
        transactional=True,
        batch=5,
        timeout=2,
        attempts=3,
        formerly="clean",
    )
    assert (handler.name, handler.topic) == ("sweep_all", "tick/nightly.sweep")
    assert handler.schedule == Schedule("nightly.sweep", NIGHTLY, "Europe/Berlin", "one")
    assert (handler.transactional, handler.batch, handler.timeout, handler.attempts) == (True, 5, 2, 3)
    assert handler.formerly == "clean"


@pytest.mark.parametrize(("catch_up", "fold"), [("one", True), ("skip", True), ("all", False)])
@pytest.mark.parametrize(("function", "transactional"), [(sweep, False), (sweep_all, True)])
def test_only_who_wants_all_ticks_gets_all_of_a_batch(
    catch_up: str, fold: bool, function: Any, transactional: bool
) -> None:
    """For the others the newest counts, for both kinds of handler."""
    assert declare(function=function, catch_up=catch_up, transactional=transactional).fold is fold


@pytest.mark.parametrize(
    ("cron", "options", "message"),
    [
        ("0 2 * *", {}, "cron '0 2 \\* \\*' must have five fields: .* such as"),
        ("0 0 2 * * *", {}, "must have five fields"),
        ("0 25 * * *", {}, "cron '0 25 \\* \\* \\*': bad hour"),
        ("0 0 31 2 *", {}, "bad day-of-month"),
        ("* * */20 * 1L", {}, "cron .* never matches any time: correct it"),
        (sweep, {}, 'cron must be text, not <function .*: write @every\\("0 2 \\* \\* \\*"'),
        (NIGHTLY, {"tz": "Berlin"}, "unknown time zone 'Berlin': write a name such as Europe/Berlin"),
        (NIGHTLY, {"tz": None}, "tz must be text, not None"),
        (NIGHTLY, {"tz": UTC}, "tz must be text, not datetime.timezone.utc"),
        (NIGHTLY, {"catch_up": "some"}, r"catch_up='some' is unknown; known: \['one', 'all', 'skip'\]"),
        (NIGHTLY, {"name": ""}, "name='' may only contain letters, digits"),
        (NIGHTLY, {"name": "a/b"}, "name='a/b' may only contain"),
        (NIGHTLY, {"name": "a b"}, "name='a b' may only contain"),
        (NIGHTLY, {"name": "x" * 101}, "at most 100"),
        (NIGHTLY, {"attempts": 0}, "attempts= must be more than 0"),
        (NIGHTLY, {"transactional": True}, None),
        (NIGHTLY, {"formerly": "sweep"}, "formerly='sweep', but a handler of that name is still declared"),
    ],
)
def test_what_cannot_work_is_refused_with_the_handlers_name(cron: Any, options: Any, message: str | None) -> None:
    """The message says what to write instead. (`transactional` alone is fine.)"""
    if message is None:
        assert declare(cron, **options).transactional
        return
    with pytest.raises(DeclarationError, match=f"handler 'sweep': .*{message}"):
        declare(cron, **options)


def test_a_function_that_takes_something_else_is_refused() -> None:
    """As for any handler."""

    async def nothing() -> None: ...

    def blocking(change: Change, ctx: Context) -> None: ...

    with pytest.raises(DeclarationError, match=r"handler 'nothing': must take \(change, ctx\)"):
        declare(function=nothing)
    with pytest.raises(DeclarationError, match="handler 'blocking': must be declared with `async def`"):
        declare(function=blocking)


def test_two_schedules_of_one_name_are_refused() -> None:
    """The name is what the topic is called by; that of a handler is another matter."""
    declared = Registry()
    declare(into=declared, name="nightly")
    with pytest.raises(DeclarationError, match="handler 'other': handler 'sweep' has topic tick/nightly already"):
        declare(function=other, into=declared, name="nightly")
    declare(function=other, into=declared, name="sweep")


@pytest.mark.parametrize("topic", ["tick/sweep", "tick/a.b", "request/sync"])
def test_on_is_for_tables(topic: str) -> None:
    """A topic that no table stands behind is refused, and told what there is instead."""
    with pytest.raises(DeclarationError, match=f"handler 'sweep': topic '{topic}' is not a table.*@every"):
        Registry().on(topic)(sweep)


def test_it_is_exported_beside_on() -> None:
    """`from worker import every` fills the process's own registry."""
    assert worker.every == registry.every
    assert "every" in worker.__all__


def test_a_tick_knows_when_it_was_due() -> None:
    """As a time with a zone; another event was never due."""
    facts: dict[str, Any] = {"id": 1, "at": datetime(2026, 1, 1, 2, 0, 1, tzinfo=UTC), "key": "sweep"}
    tick = Change(**facts, topic="tick/sweep", op="tick", new_json='{"due": "2026-01-01T02:00:00+00:00"}')
    assert tick.due == datetime(2026, 1, 1, 2, tzinfo=UTC)
    assert tick.new == {"due": "2026-01-01T02:00:00+00:00"}
    assert Change(**facts, topic="public.rooms", op="insert", new_json='{"due": "x"}').due is None
