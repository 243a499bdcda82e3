"""What an operator says about the CRM: read once at the start, together with everyone else's settings.

The CRM is optional: with neither its address nor its key set, the package sync is off, and says so. One without the
other is a mistake. A wrong value is reported without being shown.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

OFF = "package sync is off: neither CRM_SUPABASE_URL nor CRM_SUPABASE_KEY is set"


def _address(url: str) -> str:
    parts = urlsplit(url)
    plain = not (parts.username or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("must be the address of a Supabase project, such as https://abc.supabase.co")
    return url.rstrip("/")


def _key(key: SecretStr) -> SecretStr:
    # It travels in a header; what cannot is a mistake, such as a line break that came along from a file.
    if not key.get_secret_value().isascii() or not key.get_secret_value().isprintable():
        raise ValueError("must be a key as Supabase shows it, on one line")
    return key


def _region(code: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    if code.upper() not in SUPPORTED_REGIONS:
        raise ValueError("must be a two-letter country code, such as TH")
    return code.upper()


class CrmSettings(BaseSettings):
    """The CRM's address, credentials and limits.

    url, key   of the Supabase project; both, or neither
    rps        requests a second, for the whole process
    timeout    seconds for one request, from connecting to the last byte
    region     the country whose telephone numbers are written without a country code
    """

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, populate_by_name=True, env_ignore_empty=True
    )

    url: Annotated[str, AfterValidator(_address)] | None = Field(default=None, alias="CRM_SUPABASE_URL")
    key: Annotated[SecretStr, AfterValidator(_key)] | None = Field(default=None, alias="CRM_SUPABASE_KEY")
    rps: float = Field(default=100, alias="HEARKEN_CRM_RPS", ge=1, allow_inf_nan=False)
    timeout: float = Field(default=10, alias="HEARKEN_CRM_TIMEOUT", gt=0, allow_inf_nan=False)
    region: Annotated[str, AfterValidator(_region)] = Field(default="TH", alias="HEARKEN_CRM_REGION")

    @model_validator(mode="after")
    def _both_or_neither(self) -> CrmSettings:
        if (self.url is None) != (self.key is None):
            given, lacking = ("URL", "KEY") if self.key is None else ("KEY", "URL")
            raise ValueError(f"CRM_SUPABASE_{lacking} is not set, though CRM_SUPABASE_{given} is")
        return self
