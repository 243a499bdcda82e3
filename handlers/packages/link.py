"""The two ends of the package sync, as the process has them: what handlers `use`, and whether the CRM answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from handlers.packages.client import Crm
from handlers.packages.errors import CrmOutcome
from handlers.packages.settings import OFF, CrmSettings
from worker import CheckFailed, Context, Database, Skip, readiness, resource


@dataclass(frozen=True)
class Link:
    """The CRM, and the database that has the copy."""

    crm: Crm
    database: Database


@resource
async def crm(settings: CrmSettings, database: Database) -> AsyncIterator[Link | None]:
    """The process's link to the CRM; None when there is none, and the package sync is off."""
    if settings.url is None:
        structlog.get_logger("packages").info(OFF)
        yield None
        return
    client = Crm(settings)
    try:
        yield Link(client, database)
    finally:
        await client.close()


@readiness("crm", crm)
async def crm_answers(link: Link | None) -> str:
    """Ready when the CRM answers this key, or when there is none."""
    if link is None:
        return OFF
    try:
        await link.crm.ping()
    except CrmOutcome as error:
        raise CheckFailed(error.reason) from None
    return f"answers at {link.crm.settings.url}"


def linked(ctx: Context) -> Link:
    """The link, for a handler. Raises Skip when the package sync is off."""
    link: Link | None = ctx.use(crm)
    if link is None:
        raise Skip(OFF)
    return link
