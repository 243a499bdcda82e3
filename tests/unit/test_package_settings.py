"""Promise: the CRM is optional, half of it is a mistake, and a wrong setting is named and never shown."""

from __future__ import annotations

import pytest

from handlers.packages.settings import CrmSettings
from worker.errors import ConfigurationError
from worker.settings import read_settings

URL, KEY = "https://abc.supabase.co", "eyJhbGciOi.a-key.that-is-secret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Address and key are set, and nothing else."""
    for name in ("HEARKEN_CRM_RPS", "HEARKEN_CRM_TIMEOUT", "HEARKEN_CRM_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRM_SUPABASE_URL", f"{URL}/")
    monkeypatch.setenv("CRM_SUPABASE_KEY", KEY)
    return monkeypatch


def read() -> CrmSettings:
    settings = read_settings([CrmSettings])[CrmSettings]
    assert isinstance(settings, CrmSettings)
    return settings


def test_address_and_key_are_all_that_is_needed() -> None:
    """The rest has defaults; the key itself is not printed."""
    settings = read()
    assert (settings.url, settings.rps, settings.timeout, settings.region) == (URL, 100, 10, "TH")
    assert KEY not in f"{settings!r} {settings}"


@pytest.mark.parametrize("empty", [True, False])
def test_without_both_there_is_no_crm(environment: pytest.MonkeyPatch, empty: bool) -> None:
    """Not set, or set to nothing, as some platforms do."""
    for name in ("CRM_SUPABASE_URL", "CRM_SUPABASE_KEY"):
        environment.setenv(name, "") if empty else environment.delenv(name)
    assert (read().url, read().key) == (None, None)


@pytest.mark.parametrize("name", ["CRM_SUPABASE_URL", "CRM_SUPABASE_KEY"])
def test_one_without_the_other_is_a_mistake(environment: pytest.MonkeyPatch, name: str) -> None:
    """The one that lacks is named."""
    environment.delenv(name)
    with pytest.raises(ConfigurationError, match=f"{name} is not set, though CRM_SUPABASE_"):
        read()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CRM_SUPABASE_URL", "abc.supabase.co", "address of a Supabase project"),
        ("CRM_SUPABASE_URL", "https://user:pw@abc.supabase.co", "address of a Supabase project"),
        ("CRM_SUPABASE_URL", "https://abc.supabase.co/?apikey=x", "address of a Supabase project"),
        ("CRM_SUPABASE_KEY", "secret\n", "on one line"),
        ("CRM_SUPABASE_KEY", "schlüssel", "on one line"),
        ("HEARKEN_CRM_RPS", "0", "greater than or equal to 1"),
        ("HEARKEN_CRM_TIMEOUT", "0", "greater than 0"),
        ("HEARKEN_CRM_REGION", "Siam", "two-letter country code"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """The message has the variable's name and what it must be."""
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: .*{says}") as caught:
        read()
    assert "pw@" not in str(caught.value)
    assert "secret\n" not in str(caught.value)
    assert "schlüssel" not in str(caught.value)
