"""Stripe: the client that handlers share (`ctx.use(stripe)`), its account guard, its readiness check and diagnosis.

`local` holds a local server that speaks the same API, for `hearken dev` and the tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from handlers.stripe.client import Stripe, from_memory, request_id
from handlers.stripe.diagnosis import check_stripe as diagnosis
from handlers.stripe.errors import Refused, StripeOutcome
from handlers.stripe.settings import StripeSettings
from worker import CheckFailed, Database, readiness, resource

__all__ = ["Refused", "Stripe", "StripeOutcome", "StripeSettings", "diagnosis", "from_memory", "request_id", "stripe"]

_READINESS_PATIENCE = 5.0


@resource
async def stripe(settings: StripeSettings, database: Database) -> AsyncIterator[Stripe]:
    """The process's client of Stripe."""
    client = Stripe(settings, database)
    try:
        yield client
    finally:
        await client.close()


@readiness("stripe", stripe)
async def stripe_account(client: Stripe) -> str:
    """Ready once Stripe has confirmed the key's account, and the database belongs to that account."""
    try:
        async with asyncio.timeout(_READINESS_PATIENCE):
            account = await client.verify()
    except StripeOutcome as error:
        raise CheckFailed(error.reason) from None
    except TimeoutError:
        raise CheckFailed("Stripe has not yet said which account STRIPE_SECRET_KEY is for: check again soon") from None
    return f"account {account}, {client.settings.mode} mode, at {client.settings.api_base}"
