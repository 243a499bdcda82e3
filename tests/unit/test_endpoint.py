"""Promise: an endpoint that cannot work is refused when it is declared, with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from worker import Change, Context
from worker.declare.registry import Registry
from worker.errors import DeclarationError
from worker.postgres.database import Database


async def serve(change: Change, ctx: Context) -> None:
    """Nothing."""


async def read_anything(query: dict[str, str], database: Database) -> None:
    """A query that is no model."""


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("Bad Name", {}, "its name may only contain a-z, 0-9, - and _"),
        ("fine", {"path": "api"}, "path='api' must be written /like/this"),
        ("fine", {"path": "/api/"}, "path='/api/' must be written /like/this"),
        ("fine", {"path": "/api/{id}"}, "must be written /like/this"),
        ("fine", {"path": "/readyz"}, "path='/readyz' must be written /like/this, and must not be one of ('/livez'"),
        ("fine", {"body": dict}, "body= must be a pydantic model"),
        ("fine", {"read": read_anything}, "read= must be an `async def` that takes (query: SomeModel, database)"),
        ("fine", {"wait": -1}, "wait= must not be negative"),
        ("fine", {"rate": 0}, "rate= must be more than 0"),
        ("fine", {"attempts": 0}, "attempts= must be more than 0"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(name: str, options: dict[str, Any], said: str) -> None:
    """The message names the handler."""
    with pytest.raises(DeclarationError) as refused:
        Registry().endpoint(name, **{"path": "/fine", **options})(serve)
    assert said in str(refused.value)
    assert str(refused.value).startswith("handler 'serve': ")


async def another(change: Change, ctx: Context) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [("one", "/two", "has topic request/one already"), ("two", "/one", "has the path /one already")],
)
def test_two_endpoints_do_not_share_a_name_or_path(name: str, path: str, said: str) -> None:
    """Each has its own topic and its own routes."""
    registry = Registry()
    registry.endpoint("one", path="/one")(serve)
    with pytest.raises(DeclarationError, match=said):
        registry.endpoint(name, path=path)(another)


def test_what_is_returned_must_be_describable() -> None:
    """It stands in /openapi.json."""

    async def serve(change: Change, ctx: Context) -> Registry:
        return Registry()

    with pytest.raises(DeclarationError, match="its return type cannot be described as JSON Schema"):
        Registry().endpoint("one", path="/one")(serve)
