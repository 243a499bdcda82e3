"""Promise: a handler declared in a way that cannot work is refused when it is declared, and told what to do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from worker import Change, Context, Database
from worker.declare.handler import CHANGES, Subscription
from worker.declare.registry import Registry
from worker.errors import ConfigurationError, DeclarationError


async def sync_room(change: Change, ctx: Context) -> None:
    """A handler."""


def declare(topic: Any = "public.rooms", /, function: Any = sync_room, **options: Any) -> Registry:
    registry = Registry()
    registry.on(topic, **options)(function)
    return registry


def test_what_is_left_out_has_a_default() -> None:
    """Every column, every change, one at a time per key; the function itself is given back."""
    registry = Registry()
    assert registry.on("public.rooms")(sync_room) is sync_room
    handler = registry.handlers["sync_room"]
    assert handler.subscription == Subscription("public.rooms", CHANGES, None, ())
    assert (handler.topic, handler.shards, handler.fold, handler.transactional) == ("public.rooms", 1, False, False)


def test_names_may_come_in_any_iterable() -> None:
    """They are kept as tuples."""
    handler = declare(watch=["name"], exclude={"secret"}, ops=iter(["insert"])).handlers["sync_room"]
    assert handler.subscription == Subscription("public.rooms", ("insert",), ("name",), ("secret",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"watch": "name"}, r'watch= is a tuple of names: write \("name",\)'),
        ({"exclude": "name"}, r'exclude= is a tuple of names: write \("name",\)'),
        ({"ops": "insert"}, r'ops= is a tuple of names: write \("insert",\)'),
        ({"watch": ()}, "watch= is empty; leave it out to watch every column"),
        ({"ops": ()}, "ops= is empty; known: .*'insert', 'update', 'delete', 'truncate'"),
        ({"ops": ("insert", "upsert")}, r"ops= has \['upsert'\]; known: .*'insert'"),
        ({"ops": ("INSERT",)}, r"ops= has \['INSERT'\]"),
        ({"watch": ("a", "b", "c"), "exclude": ("c", "a")}, r"columns \['a', 'c'\] are in both watch= and exclude="),
        ({"fold": True, "transactional": True}, "fold= is for external handlers"),
        ({"plans": True}, "plans= is for level-triggered handlers"),
        ({"concurrency": 0}, "concurrency= must be more than 0, not 0"),
        ({"shards": -1}, "shards= must be more than 0, not -1"),
        ({"batch": 0}, "batch= must be more than 0"),
        ({"timeout": 0}, "timeout= must be more than 0"),
        ({"attempts": 0}, "attempts= must be more than 0"),
        ({"active": ("open",)}, "active= is the name of one column"),
        ({"active": "open", "transactional": True}, "active= is for the brake, which is only for external handlers"),
        ({"active": "open", "brake": False}, "active= is for the brake"),
        ({"active": "open", "watch": ("name",)}, "active='open' is not in watch=: its change would make no event"),
        ({"active": "open", "exclude": ("open",)}, "active='open' is in exclude="),
        ({"active": "open", "ops": ("insert", "delete")}, "active='open' needs updates, which are not in ops="),
        ({"formerly": "sync_room"}, "formerly='sync_room', but a handler of that name is still declared"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    """The message names the handler, the option, and what it may be."""
    with pytest.raises(DeclarationError, match=f"^handler 'sync_room': {message}"):
        declare(**options)


@pytest.mark.parametrize("topic", ["rooms", "", "public.", ".rooms", "db.public.rooms", "public rooms"])
def test_a_topic_is_a_schema_and_a_table(topic: str) -> None:
    """Which schema a bare name means would depend on the session."""
    with pytest.raises(DeclarationError, match=r"^handler 'sync_room': topic .* must be written schema\.table"):
        declare(topic)


def test_a_decorator_without_its_table_is_refused() -> None:
    """`@on` alone would declare nothing, without a word."""
    with pytest.raises(DeclarationError, match=r'write @on\("schema\.table"\)'):
        Registry().on(sync_room)  # type: ignore[arg-type]


def a_plain_function(change: Change, ctx: Context) -> None: ...


async def a_generator(change: Change, ctx: Context) -> AsyncIterator[None]:
    yield


async def without_context(change: Change) -> None: ...


async def with_more(change: Change, ctx: Context, more: int) -> None: ...


async def named_only(*, change: Change, ctx: Context) -> None: ...


async def of_all(changes: Sequence[Change], ctx: Context, more: int = 0) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (a_plain_function, "must be declared with `async def`"),
        (a_generator, "must be declared with `async def`"),
        (without_context, r"must take \(change, ctx\)"),
        (with_more, r"must take \(change, ctx\)"),
        (named_only, r"must take \(change, ctx\)"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(function: Any, message: str) -> None:
    """Or each of its events would be dead after twelve attempts."""
    with pytest.raises(DeclarationError, match=f"^handler '{function.__name__}': {message}"):
        declare(function=function)


def test_a_transactional_handler_takes_the_whole_batch() -> None:
    """Further parameters with a default do no harm."""
    assert declare(function=of_all, transactional=True).handlers["of_all"].transactional
    with pytest.raises(DeclarationError, match=r"must take \(changes, ctx\)"):
        declare(function=without_context, transactional=True)


def test_a_name_is_declared_once() -> None:
    """It is the handler's identity; the message says where both are."""
    registry = declare()
    with pytest.raises(
        DeclarationError, match=r"^handler 'sync_room': is declared twice \(.*test_registry\.sync_room and"
    ):
        registry.on("public.other")(sync_room)


@pytest.mark.parametrize("newer_first", [True, False])
def test_formerly_names_a_handler_that_is_gone(newer_first: bool) -> None:
    """In whatever order the modules are loaded."""
    registry = Registry()
    declarations: list[tuple[Any, Any]] = [(of_all, {"formerly": "sync_room"}), (sync_room, {})]
    first, second = declarations if newer_first else reversed(declarations)
    registry.on("public.rooms", **first[1])(first[0])
    with pytest.raises(DeclarationError, match=r"'of_all': formerly='sync_room', but a handler of that name is still"):
        registry.on("public.rooms", **second[1])(second[0])


def test_a_refused_handler_is_not_declared() -> None:
    """Nor does it stand in the way of a mended one."""
    registry = declare()
    with pytest.raises(DeclarationError):
        registry.on("public.rooms", shards=0)(of_all)
    registry.on("public.rooms", transactional=True)(of_all)
    assert [*registry.handlers] == ["sync_room", "of_all"]


class Wanted(BaseSettings):
    """Some settings."""


async def client(settings: Wanted, database: Database) -> AsyncIterator[int]:
    yield 1


async def greedy(settings: Wanted) -> AsyncIterator[int]:
    yield 1


async def untyped(settings, database):  # type: ignore[no-untyped-def]
    yield 1


def test_a_resource_brings_its_settings() -> None:
    """They are known by the first parameter, so that all can be read at once."""
    registry = Registry()
    registry.resource(client)
    assert registry.resources[0].settings is Wanted
    for factory in (greedy, untyped):
        with pytest.raises(
            DeclarationError, match=f"resource '{factory.__name__}': must take \\(settings: SomeSettings"
        ):
            registry.resource(factory)


def test_a_module_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HEARKEN_HANDLERS may be misspelt; a module of its own that a handler lacks is another matter."""
    for name in ("no_such_module", "no.such.module", "worker.no_such_module"):
        with pytest.raises(ConfigurationError, match=f"HEARKEN_HANDLERS: no module named '{name}' on the path"):
            Registry().load([name])
    (tmp_path / "lacking.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        Registry().load(["lacking"])
    assert "lacking" not in sys.modules
