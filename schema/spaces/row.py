"""A row of public.spaces as its handler needs it; a row that does not fit is reported without its values."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field


class Space(BaseModel):
    """An active space. Blanks around texts do not count. Money is in units of the currency, never a float."""

    model_config = ConfigDict(str_strip_whitespace=True, hide_input_in_errors=True)

    name: str = Field(min_length=1)
    description: str | None
    capacity: int | None
    price_per_hour: Decimal
    is_active: bool
