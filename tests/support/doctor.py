"""`hearken doctor` in this process: its findings about a database, for the declarations of a test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from psycopg import sql

from tests.support.served import execute
from tests.support.watched import declare
from worker.declare.builtin import CANARY
from worker.declare.registry import Registry
from worker.doctor.examination import examine
from worker.doctor.finding import Finding

OURS = ("DATABASE_URL", "HEARKEN_", "STRIPE_", "CRM_", "CRON_SECRET", "PORT", "PG")


class Findings(list[Finding]):
    """What was found, in order."""

    def about(self, name: str) -> Finding:
        """The one finding of that name."""
        (finding,) = [finding for finding in self if finding.name == name]
        return finding

    def problem(self, name: str, *words: str) -> str:
        """The text of the one finding of that name, which must be a problem and have these words."""
        finding = self.about(name)
        assert finding.state == "problem", finding
        assert all(word in finding.text for word in words), finding
        return finding.text

    def unknown(self, name: str, *words: str) -> str:
        """The same for what could not be looked at."""
        finding = self.about(name)
        assert finding.state == "unknown", finding
        assert all(word in finding.text for word in words), finding
        return finding.text

    @property
    def bad(self) -> set[str]:
        """The names of all that is not fine."""
        return {finding.name for finding in self if finding.state != "ok"}


def watched(name: str = "hear", **options: Any) -> Registry:
    """One handler of the table `things`, and the engine's own, as a worker has."""
    return declare("public.things", name, into=Registry(engine=[CANARY]), **options)


async def examined(url: str | None, declared: Registry | Callable[[], Registry], **environment: str) -> Findings:
    """What the doctor finds in the database at `url` (None: DATABASE_URL is not set) with these variables set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    given = {} if url is None else {"DATABASE_URL": url}
    with patch.dict(os.environ, {**kept, **given, **environment}, clear=True):
        load = declared if callable(declared) else lambda: declared
        return Findings([finding async for finding in examine(load)])


@asynccontextmanager
async def role_of(url: str, name: str, *grants: str) -> AsyncIterator[str]:
    """The URL for a new role with these grants (`{}` is the role); it is gone afterwards."""
    role = sql.Identifier(name).as_string()
    await execute(url, f"create role {role} login password 'open'")
    try:
        for grant in grants:
            await execute(url, grant.format(role))
        parts = urlsplit(url)
        yield parts._replace(netloc=f"{name}:open@{parts.hostname}:{parts.port}").geturl()
    finally:
        await execute(url, f"drop owned by {role}")
        await execute(url, f"drop role {role}")
