"""Promise: what is done about cursors follows from what is declared and what the database knows; nothing is guessed."""

from __future__ import annotations

import pytest

from tests.support.watched import declare
from worker.declare.handler import Handler
from worker.errors import MigrationError
from worker.install.enrolment import Enrolled, plan_enrolment

ROOMS, PLANS = "public.rooms", "public.plans"


def handler(name: str, topic: str = ROOMS, *, shards: int = 1, formerly: str | None = None) -> Handler:
    return declare(topic, name, shards=shards, formerly=formerly).handlers[name]


def plan(declared: list[Handler], *known: Enrolled) -> list[tuple[str, str, str]]:
    found = plan_enrolment(declared, {enrolled.name: enrolled for enrolled in known})
    return [(enrolment.handler.name, enrolment.action, enrolment.text) for enrolment in found]


def test_what_is_known_as_declared_needs_nothing() -> None:
    """Nor does a handler that is gone, or a `formerly` that has done its work."""
    known = [Enrolled("a", 2, [ROOMS]), Enrolled("gone", 1, [PLANS])]
    assert plan([handler("a", shards=2, formerly="older")], *known) == []


def test_each_difference_has_its_action() -> None:
    """New, renamed, other shards, other table."""
    known = [Enrolled("old", 1, [ROOMS]), Enrolled("more", 1, [ROOMS]), Enrolled("moved", 1, [ROOMS])]
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
        ("moved", "topics", "receives sales.orders"),
    ]


def test_a_new_handler_beside_one_that_is_gone_is_refused() -> None:
    """On the same table it may be the same one; on another it cannot."""
    gone = Enrolled("gone", 1, [ROOMS])
    with pytest.raises(MigrationError, match=r"handler new is new and gone is gone, both on public\.rooms"):
        plan([handler("new")], gone)
    assert plan([handler("new", PLANS)], gone) == [("new", "add", "new, receives public.plans from now on")]
    assert [action for _, action, _ in plan([handler("new"), handler("gone")], gone)] == ["add"]


def test_a_first_deployment_may_say_formerly() -> None:
    """Where there is nothing to take over, the handler is new."""
    assert [action for _, action, _ in plan([handler("new", formerly="old")])] == ["add"]


def test_both_names_known_changes_nothing() -> None:
    """As after a rollback and another deployment: the old cursor is kept for `hearken forget`."""
    assert plan([handler("new", formerly="old")], Enrolled("new", 1, [ROOMS]), Enrolled("old", 1, [ROOMS])) == []
