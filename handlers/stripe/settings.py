"""What an operator says about Stripe: read once at the start, together with everyone else's settings.

A wrong value is reported without being shown.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Mode = Literal["test", "live"]

_KEY = re.compile(r"[sr]k_(test|live)_\w+")


def _secret_key(key: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(key.get_secret_value()):
        raise ValueError("must be a secret or restricted key: sk_test_…, sk_live_…, rk_test_… or rk_live_…")
    return key


def _currency(code: str) -> str:
    if not re.fullmatch("[A-Za-z]{3}", code):
        raise ValueError("must be a three-letter ISO currency code, such as eur")
    return code.lower()


def _api_base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ValueError("must be the address of a Stripe API, such as https://api.stripe.com")
    return url.rstrip("/")


class StripeSettings(BaseSettings):
    """Stripe's address, credentials and limits.

    key        required; a test or a live key
    api_base   where the API is; Stripe's own by default
    rps        requests a second, for the whole process (what Stripe allows: https://docs.stripe.com/rate-limits);
               with fewer than 5, the events that are handled side by side would outlast their timeout
    currency   the currency of every price, as a lower-case ISO code
    prefix     what product ids and price lookup keys begin with
    timeout    seconds for one request, from connecting to the last byte
    """

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, populate_by_name=True)

    key: Annotated[SecretStr, AfterValidator(_secret_key)] = Field(alias="STRIPE_SECRET_KEY")
    api_base: Annotated[str, AfterValidator(_api_base)] = Field(
        default="https://api.stripe.com", alias="STRIPE_API_BASE"
    )
    rps: float = Field(default=20, alias="HEARKEN_STRIPE_RPS", ge=5, allow_inf_nan=False)
    currency: Annotated[str, AfterValidator(_currency)] = Field(default="eur", alias="HEARKEN_STRIPE_CURRENCY")
    prefix: str = Field(default="space_", alias="HEARKEN_STRIPE_PREFIX", pattern=r"^[A-Za-z0-9_-]{1,100}$")
    timeout: float = Field(default=10, alias="HEARKEN_STRIPE_TIMEOUT", gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _no_live_key_in_clear_text(self) -> StripeSettings:
        if self.mode == "live" and not self.api_base.startswith("https://"):
            raise ValueError("STRIPE_API_BASE must be https when STRIPE_SECRET_KEY is a live key")
        return self

    @property
    def mode(self) -> Mode:
        """Whether the key belongs to test data or to live data (Stripe writes it into the key's prefix)."""
        return "live" if self.key.get_secret_value()[3:7] == "live" else "test"
