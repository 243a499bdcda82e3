"""What is asked of the CRM: its customers by e-mail or number, a customer's packages. Above `client`.

A query by text is wide, because the CRM may write it differently; `matching` compares the results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from handlers.packages.client import Crm
from handlers.packages.errors import Refused, unfit_row
from handlers.packages.matching import email_key
from handlers.packages.phones import read_phone
from schema.packages.row import Customer, Package

Row = TypeVar("Row", bound=BaseModel)

_PATTERN = re.compile(r"[\\%_]")
_QUOTED = re.compile(r'[\\"]')


async def customers_by_email(crm: Crm, email: str | None) -> list[Customer]:
    """Those whose address might be `email`."""
    if not (wanted := email_key(email)):
        return []
    return await _customers(crm, {"email": f"ilike.*{_escaped(_PATTERN, wanted)}*"})


async def customers_by_phone(crm: Crm, phone: str | None) -> list[Customer]:
    """Those whose number ends in the same eight digits, with anything between them."""
    if (wanted := read_phone(phone, crm.settings.region)) is None:
        return []
    return await _customers(crm, {"phone": f"like.*{'*'.join(wanted.tail)}*"})


async def is_customer(crm: Crm, customer_id: str) -> bool:
    """Whether the CRM shows this customer."""
    # Not a condition named "id": that one is for paging.
    found = await _customers(crm, {"and": f'(id.eq."{_escaped(_QUOTED, customer_id)}")'})
    return any(customer.id == customer_id for customer in found)


async def packages_of(crm: Crm, customer_id: str) -> list[Package]:
    """All packages of a customer, each once. Raises Refused when the CRM gives another customer's."""
    columns = ",".join(Package.model_fields)
    rows = await crm.rows("packages", columns, {"customer_id": f"eq.{customer_id}"})
    packages = {package.id: package for package in _read("packages", Package, rows)}
    if strangers := [package.id for package in packages.values() if package.customer_id != customer_id]:
        raise Refused(f"asked for the packages of one customer, the CRM gave those of others (id {strangers[0]})")
    return list(packages.values())


async def _customers(crm: Crm, conditions: dict[str, str]) -> list[Customer]:
    rows = await crm.rows("customers", ",".join(Customer.model_fields), conditions)
    return list(_read("customers", Customer, rows))


def _escaped(special: re.Pattern[str], text: str) -> str:
    return special.sub(r"\\\g<0>", text)


def _read(table: str, model: type[Row], rows: Iterable[dict[str, Any]]) -> Iterable[Row]:
    for row in rows:
        try:
            yield model.model_validate(row)
        except ValidationError as error:
            raise unfit_row(table, row, error) from None
