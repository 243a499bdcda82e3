"""`/v1/account` and `/v1/balance`: whose key this is, and in which mode."""

from __future__ import annotations

from handlers.stripe.local.products import Action
from handlers.stripe.local.reader import Reader
from handlers.stripe.local.store import Store, StripeObject


def retrieve(params: Reader) -> Action:
    """GET /v1/account: the account the key belongs to."""
    params.only(("expand",))
    facts: StripeObject = {
        "object": "account",
        "business_type": None,
        "capabilities": {},
        "charges_enabled": True,
        "country": "FR",
        "created": 1_735_689_600,
        "default_currency": "eur",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }
    return lambda store: {"id": store.account, **facts}


def balance(params: Reader) -> Action:
    """GET /v1/balance: empty; its `livemode` tells the mode of the key."""
    params.only(("expand",))

    def act(store: Store) -> StripeObject:
        return {"object": "balance", "available": [], "livemode": store.livemode, "pending": []}

    return act
