"""Promise: what is done about cursors follows from what is declared and what the database knows; nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.watched import declare
from worker.declare.declaration import declaration_of
from worker.declare.handler import Handler
from worker.errors import MigrationError
from worker.install.enrolment import Enrolled, plan_enrolment

ROOMS, PLANS = "public.rooms", "public.plans"


def handler(name: str, topic: str = ROOMS, *, shards: int = 1, formerly: str | None = None) -> Handler:
    return declare(topic, name, shards=shards, formerly=formerly).handlers[name]


def known_as(name: str, topic: str = ROOMS, *, shards: int = 1) -> Enrolled:
    """What the database knows of a handler that was migrated so."""
    return Enrolled(name, shards, [topic], declaration=declaration_of(handler(name, topic, shards=shards)))


def plan(declared: list[Handler], *known: Enrolled) -> list[tuple[str, str, str]]:
    found = plan_enrolment(declared, {enrolled.name: enrolled for enrolled in known})
    return [(enrolment.handler.name, enrolment.action, enrolment.text) for enrolment in found]


def test_what_is_known_as_declared_needs_nothing() -> None:
    """Nor does a handler that is gone, or a `formerly` that has done its work."""
    known = [known_as("a", shards=2), known_as("gone", PLANS)]
    assert plan([handler("a", shards=2, formerly="older")], *known) == []


def test_each_difference_has_its_action() -> None:
    """New, renamed, other shards, other table."""
    known = [known_as("old"), known_as("more"), known_as("moved")]
    declared = [
        handler("new", PLANS),
        handler("young", formerly="old"),
        handler("more", shards=3),
        handler("moved", "sales.orders"),
    ]
    assert plan(declared, *known) == [
        ("new", "add", "new, receives public.plans from now on"),
        ("young", "rename", "takes over the cursor of old"),
        ("more", "reshard", "from 1 to 3 shards"),
        ("moved", "move", "receives sales.orders instead of public.rooms"),
    ]


def test_a_new_handler_beside_one_that_is_gone_is_refused() -> None:
    """On the same table it may be the same one; on another it cannot."""
    gone = known_as("gone")
    with pytest.raises(MigrationError, match=r"handler new is new and gone is gone, both on public\.rooms"):
        plan([handler("new")], gone)
    assert plan([handler("new", PLANS)], gone) == [("new", "add", "new, receives public.plans from now on")]
    assert [action for _, action, _ in plan([handler("new"), handler("gone")], gone)] == ["add"]


def test_a_first_deployment_may_say_formerly() -> None:
    """Where there is nothing to take over, the handler is new."""
    assert [action for _, action, _ in plan([handler("new", formerly="old")])] == ["add"]


def test_a_cursor_without_a_declaration_gets_one() -> None:
    """As one that an older version made."""
    assert plan([handler("a")], Enrolled("a", 1, [ROOMS])) == [
        ("a", "declare", "its declaration is stored with its cursor")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"watch": ("v", "name")}, "watch=every column is now name, v"),
        ({"ops": ("insert",)}, "ops=delete, insert, truncate, update is now insert"),
        ({"exclude": ("secret",)}, "exclude=none is now secret"),
        ({"fold": True}, "fold=False is now True"),
        ({"transactional": True}, "transactional=False is now True"),
    ],
)
def test_another_declaration_says_what_differs(options: dict[str, Any], said: str) -> None:
    """What a cursor means is compared whole; in which order names stand says nothing."""
    declared = declare(ROOMS, "a", **options).handlers["a"]
    text = f"declared otherwise, undelivered events included: {said}"
    assert plan([declared], known_as("a")) == [("a", "declare", text)]
    same: dict[str, Any] = {
        name: tuple(reversed(value)) if isinstance(value, tuple) else value for name, value in options.items()
    }
    assert declaration_of(declare(ROOMS, "a", **same).handlers["a"]) == declaration_of(declared)


def test_both_names_known_changes_nothing() -> None:
    """As after a rollback and another deployment: the old cursor is kept for `hearken forget`."""
    assert plan([handler("new", formerly="old")], known_as("new"), known_as("old")) == []
