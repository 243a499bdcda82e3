"""What `hearken doctor` says of Stripe: whose key it is, in which mode, and whether the database belongs to it.

Unlike the readiness check it remembers nothing: a wrong key on somebody's machine must not claim the database.
"""

from __future__ import annotations

import stripe as sdk
from psycopg import Error

from handlers.stripe.account import Connections, describe, recall
from handlers.stripe.client import Stripe
from handlers.stripe.errors import StripeOutcome
from handlers.stripe.settings import StripeSettings
from worker import CheckFailed, diagnosis


@diagnosis("stripe", StripeSettings)
async def check_stripe(settings: StripeSettings, database: Connections) -> str:
    """Ask Stripe whose key this is, and the database whose it is."""
    client = Stripe(settings, database)
    try:
        account = await client.whose_key()
    except StripeOutcome as error:
        raise CheckFailed(error.reason) from None
    finally:
        await client.close()
    ours = describe(account, settings.mode)
    return f"key of {ours}, API version {sdk.api_version}, at {settings.api_base}; {await _owner(database, ours)}"


async def _owner(database: Connections, ours: str) -> str:
    """Raises CheckFailed when the database belongs to somebody else."""
    try:
        owner = await recall(database)
    except (Error, OSError):
        return "the database cannot be asked whose it is"
    if owner is None:
        return "the database belongs to no account yet"
    if (theirs := describe(*owner)) != ours:
        raise CheckFailed(
            f"key of {ours}, but the database belongs to {theirs}: set a key of that one; or, to move the catalogue,"
            " empty the table hearken.stripe_account"
        )
    return "the database belongs to it"
