"""Fixtures of the tests that run commands as programs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.cli import Rooms, open_rooms


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Rooms]:
    """A database in which the sample handlers watch a table."""
    async with open_rooms(database_url) as opened:
        yield opened
