"""The local Stripe in place of Stripe, for `hearken dev` without a key."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from handlers.stripe.local import LocalStripe
from worker import ConfigurationError, stand_in


@stand_in("stripe", unless="STRIPE_SECRET_KEY", harmless=("sk_test_", "rk_test_"))
async def local_stripe(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A local Stripe that is the same account at every start in the same folder.

    Stripe's rate limit is raised: it would only slow down a server that answers in a millisecond.
    """
    try:
        server = LocalStripe(state_file=folder / "stripe.json")
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    async with server:
        pace = os.environ.get("HEARKEN_STRIPE_RPS", "1000")
        yield {"STRIPE_API_BASE": server.url, "STRIPE_SECRET_KEY": server.key, "HEARKEN_STRIPE_RPS": pace}
