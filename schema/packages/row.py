"""Rows of the CRM as the package sync needs them; a row that does not fit is reported without its values.

The CRM's keys may be numbers or texts: here they are texts.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_ROW = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True, frozen=True)


class Customer(BaseModel):
    """A row of the CRM's `customers`."""

    model_config = _ROW

    id: str = Field(min_length=1)
    name: str | None = None
    email: str | None = None
    phone: str | None = None


class Package(BaseModel):
    """A row of the CRM's `packages`. Hours are exact, never floats."""

    model_config = _ROW

    id: str = Field(min_length=1)
    customer_id: str = Field(min_length=1)
    package_name: str
    total_hours: Decimal | None = None
    used_hours: Decimal | None = None
    remaining_hours: Decimal | None = None
    purchase_date: date | None = None
    first_use_date: date | None = None
    expiration_date: date | None = None
    updated_at: AwareDatetime


class Profile(BaseModel):
    """What of a row of public.profiles a customer is found by."""

    model_config = _ROW

    id: str
    name: str | None
    email: str | None
    phone_number: str | None
