"""A small Stripe on this machine, for `hearken dev` and the tests: products and prices as Stripe behaves.

    async with LocalStripe() as server:
        client = stripe.StripeClient(server.key, base_addresses={"api": server.url})

Below `server`, the modules follow a request: `delivery` (HTTP) → `desk` (the order of Stripe's layers) →
`endpoints` → `products`, `prices`, `account` → `store`; beside them stands what can be made to go wrong:
`faults`, `gates`, `limits`.
"""

from handlers.stripe.local.calls import Call, Calls
from handlers.stripe.local.faults import Fault, FaultKind
from handlers.stripe.local.gates import Gate
from handlers.stripe.local.server import LocalStripe

__all__ = ["Call", "Calls", "Fault", "FaultKind", "Gate", "LocalStripe"]
