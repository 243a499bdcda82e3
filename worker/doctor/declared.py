"""What the systems of handlers/ check: their own diagnoses, declared with `@diagnosis`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import OperationalError
from pydantic import ValidationError

from worker.declare.extensions import Diagnosis
from worker.doctor.finding import Finding, fine, unknown
from worker.postgres.database import Connection
from worker.postgres.own_connection import Inspection


class NoDatabase:
    """In place of a database that is not known."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Raises psycopg.OperationalError."""
        raise OperationalError("DATABASE_URL is missing or wrong")
        yield


async def check_declared(diagnosis: Diagnosis, database: Inspection | NoDatabase) -> list[Finding]:
    """One system's. Raises what its check raises, CheckFailed for what is wrong."""
    try:
        settings = diagnosis.settings()
    except ValidationError:
        return [unknown(diagnosis.name, "not looked at, because its settings are missing or wrong (see `settings`)")]
    return [fine(diagnosis.name, await diagnosis.check(settings, database))]
