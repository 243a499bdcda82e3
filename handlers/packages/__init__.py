"""The CRM → public.packages: who logs in or books has the packages that the CRM has for them.

    a login, a booking (`logins`)          ─┐
    a request, the daily tick (`requests`) ─┼→ `sync`: mapping → CRM → local copy
    a person (`commands`)                  ─┘

Level-triggered: an event only says whose packages to look after. The login or booking is committed before any of this
begins, so nothing that the CRM does can harm it. Without the CRM's settings all of it is off.
"""

from __future__ import annotations

from handlers.packages.client import Crm
from handlers.packages.commands import packages
from handlers.packages.diagnosis import check_crm as diagnosis
from handlers.packages.link import Link, crm
from handlers.packages.logins import sync_booking, sync_profile
from handlers.packages.requests import daily_package_sync, sync_all_packages, sync_requested_profile
from handlers.packages.settings import CrmSettings
from worker import reads

__all__ = [
    "Crm",
    "CrmSettings",
    "Link",
    "crm",
    "daily_package_sync",
    "diagnosis",
    "packages",
    "sync_all_packages",
    "sync_booking",
    "sync_profile",
    "sync_requested_profile",
]

reads("public.profiles", "public.crm_customer_mapping", "public.packages")
