"""Promise: what is compiled follows from the table and the declarations alone, so that a hash can say what differs."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from worker.capture.catalog import Column, Table
from worker.capture.triggers import compile_triggers
from worker.declare.handler import Subscription
from worker.errors import DeclarationError
from worker.postgres.locks import channel_of, claim_lock, migration_lock, retention_lock, topic_lock

ID = Column("id", "int8")
NAME = Column("name", "text")
PRICE = Column("price", "numeric")
SECRET = Column("secret", "json")
ROOMS = Table("public", "rooms", (ID, NAME, PRICE, SECRET), ("id",))


def wish(**options: Any) -> Subscription:
    return Subscription("public.rooms", **options)


def hashes(table: Table, *subscriptions: Subscription) -> dict[str, str]:
    return {trigger.op: trigger.hash for trigger in compile_triggers(table, subscriptions)}


def test_the_same_declarations_have_the_same_hash_in_any_order() -> None:
    """Of handlers, of columns, of operations; and at any time."""
    wishes = [
        wish(watch=("name", "price"), ops=("insert", "update")),
        wish(watch=("price",)),
        wish(exclude=("secret",)),
    ]
    found = [hashes(ROOMS, *some) for some in permutations(wishes)]
    assert all(one == found[0] for one in found)
    turned = wish(watch=("price", "name"), ops=("update", "insert"))
    assert hashes(ROOMS, turned) == hashes(ROOMS, wishes[0])
    assert compile_triggers(ROOMS, wishes) == compile_triggers(ROOMS, wishes)


def test_what_is_captured_otherwise_has_another_hash() -> None:
    """Each of these differs from all the others."""
    other = Table("public", "halls", ROOMS.columns, ROOMS.key)
    variants = [
        hashes(ROOMS, wish()),
        hashes(ROOMS, wish(watch=("name",))),
        hashes(ROOMS, wish(exclude=("secret",))),
        hashes(ROOMS, wish(exclude=("name",))),
        hashes(Table("public", "rooms", (*ROOMS.columns, Column("more", "int4")), ("id",)), wish()),
        hashes(Table("public", "rooms", ROOMS.columns, ("name",)), wish()),
        hashes(other, Subscription("public.halls")),
    ]
    assert len({one["update"] for one in variants}) == len(variants)


def test_what_is_watched_only_matters_to_updates() -> None:
    """An INSERT, DELETE or TRUNCATE is captured whatever the columns."""
    some, every = hashes(ROOMS, wish(watch=("name",))), hashes(ROOMS, wish())
    assert {op for op in some if some[op] != every[op]} == {"update"}


def test_the_hash_covers_the_statements_and_is_in_the_comment() -> None:
    """Whoever reads the trigger's comment knows which version it is."""
    for trigger in compile_triggers(ROOMS, [wish()]):
        define, create, comment = trigger.statements
        assert f'trigger "hearken_{trigger.op}" after {trigger.op} on "public"."rooms"' in create
        assert comment.endswith(f"is 'hearken {trigger.hash}'")
        assert define.startswith("create or replace function")


def test_only_what_is_asked_for_is_compiled() -> None:
    """No trigger for an operation that no handler asked for; columns watched by those who ask for updates alone."""
    assert [*hashes(ROOMS, wish(ops=("delete",)), wish(ops=("insert", "delete")))] == ["insert", "delete"]
    everything = wish(ops=("insert",))
    assert hashes(ROOMS, everything, wish(watch=("name",)))["update"] == hashes(ROOMS, wish(watch=("name",)))["update"]


def test_excluded_columns_are_not_even_named() -> None:
    """What one handler excludes is in the log for none."""
    for trigger in compile_triggers(ROOMS, [wish(exclude=("secret",)), wish()]):
        assert not any("secret" in statement for statement in trigger.statements)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ([wish(watch=("colour", "name"))], r"watch= names \['colour'\], but table public\.rooms has \['id', 'name'"),
        ([wish(active="colour")], r"active= names \['colour'\], but table public\.rooms has"),
        ([wish(active="secret"), wish(exclude=("secret",))], "watched by one handler and excluded by another"),
        ([wish(exclude=("colour",))], r"exclude= names \['colour'\], but table public\.rooms has"),
        ([wish(watch=("secret",)), wish(exclude=("secret",))], "watched by one handler and excluded by another"),
        ([wish(exclude=("id",))], r"\['id'\] of public\.rooms are its primary key and cannot be excluded"),
    ],
)
def test_contradictions_are_refused(wishes: list[Subscription], message: str) -> None:
    """The message names the table and the columns."""
    with pytest.raises(DeclarationError, match=message):
        compile_triggers(ROOMS, wishes)


def test_a_virtual_column_cannot_be_watched() -> None:
    """A trigger does not see it; the message says what to watch instead."""
    table = Table("public", "rooms", (ID, Column("area", "int4", virtual=True)), ("id",))
    with pytest.raises(DeclarationError, match=r"\['area'\] of public\.rooms.*watch what they are computed from"):
        compile_triggers(table, [wish(watch=("area",))])
    assert not any("area" in s for trigger in compile_triggers(table, [wish()]) for s in trigger.statements)


def test_a_key_reads_the_same_in_every_session() -> None:
    """Where a type's text depends on settings, the function has its own; elsewhere that costs nothing."""
    stable, unstable = (
        compile_triggers(Table("public", "rooms", (Column("id", kind, plain=plain),), ("id",)), [wish()])
        for kind, plain in (("int8", True), ("timestamptz", False))
    )
    assert "datestyle" not in stable[0].statements[0]
    assert "timezone = 'UTC' set datestyle" in unstable[0].statements[0].replace("\nset", " set")


def test_a_key_is_split_as_it_was_put_together() -> None:
    """One column's text stands alone; several are a JSON array of texts."""
    assert ROOMS.split_key('["x"]') == ['["x"]']
    seats = Table("public", "seats", (ID, NAME), ("name", "id"))
    assert seats.split_key('["a, \\"b\\"", "7"]') == ['a, "b"', "7"]


def test_locks_and_channels_never_meet() -> None:
    """Workers and triggers derive them from words alone; Postgres allows 63 bytes for a channel, 64 bits for a lock."""
    names = [f"public.{'x' * number}" for number in range(200)]
    locks = {
        migration_lock(),
        retention_lock(),
        *map(topic_lock, names),
        *(claim_lock(n, s) for n in names for s in (0, 1)),
    }
    assert len(locks) == 602
    assert all(-(2**63) <= lock < 2**63 for lock in locks)
    assert len(set(map(channel_of, names))) == 200
    assert all(len(channel_of(name)) <= 63 for name in names)
    assert topic_lock("public.spaces") == -7975185623630100811  # in every trigger that is installed somewhere
