"""Promise: a wrong setting is named and never shown; a live key never travels in clear text."""

from __future__ import annotations

import pytest

from handlers.stripe.settings import StripeSettings
from worker.errors import ConfigurationError
from worker.settings import read_settings

KEY = "sk_test_" + "a1" * 12


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only a key is set."""
    for name in ("STRIPE_API_BASE", "HEARKEN_STRIPE_RPS", "HEARKEN_STRIPE_CURRENCY", "HEARKEN_STRIPE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    return monkeypatch


def read() -> StripeSettings:
    settings = read_settings([StripeSettings])[StripeSettings]
    assert isinstance(settings, StripeSettings)
    return settings


def test_a_key_is_all_that_is_needed() -> None:
    """The rest has defaults; the key itself is not printed."""
    settings = read()
    assert (settings.mode, settings.api_base) == ("test", "https://api.stripe.com")
    assert (settings.rps, settings.currency, settings.prefix) == (20, "eur", "space_")
    assert KEY not in f"{settings!r} {settings}"


def test_the_mode_is_that_of_the_key(environment: pytest.MonkeyPatch) -> None:
    """Live keys, restricted ones too, mean live mode."""
    environment.setenv("STRIPE_SECRET_KEY", KEY.replace("sk_test_", "rk_live_"))
    assert read().mode == "live"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("STRIPE_SECRET_KEY", "pk_test_123", "secret or restricted key"),
        ("STRIPE_SECRET_KEY", "hunter2", "secret or restricted key"),
        ("STRIPE_API_BASE", "api.stripe.com", "address of a Stripe API"),
        ("STRIPE_API_BASE", "https://user:pw@api.stripe.com", "address of a Stripe API"),
        ("HEARKEN_STRIPE_RPS", "0", "greater than or equal to 5"),
        ("HEARKEN_STRIPE_CURRENCY", "euro", "ISO currency code"),
        ("HEARKEN_STRIPE_PREFIX", "a b", "pattern"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The message has the variable's name and what it must be."""
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: .*{says}") as caught:
        read()
    if name == "STRIPE_SECRET_KEY":
        assert value not in str(caught.value)


def test_a_live_key_needs_https(environment: pytest.MonkeyPatch) -> None:
    """A local Stripe is for test keys."""
    environment.setenv("STRIPE_API_BASE", "http://127.0.0.1:12111")
    assert read().mode == "test"
    environment.setenv("STRIPE_SECRET_KEY", KEY.replace("test", "live"))
    with pytest.raises(ConfigurationError, match="STRIPE_API_BASE must be https"):
        read()
