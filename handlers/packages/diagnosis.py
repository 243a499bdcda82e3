"""What `hearken doctor` says of the CRM: off, answering this key, or what is wrong with it."""

from __future__ import annotations

from handlers.packages.client import Crm
from handlers.packages.errors import CrmOutcome
from handlers.packages.settings import OFF, CrmSettings
from worker import CheckFailed, diagnosis


@diagnosis("crm", CrmSettings)
async def check_crm(settings: CrmSettings, _database: object) -> str:
    """Ask the CRM the smallest question. The database has no say: it belongs to no CRM."""
    if settings.url is None:
        return OFF
    client = Crm(settings)
    try:
        await client.ping()
    except CrmOutcome as error:
        raise CheckFailed(error.reason) from None
    finally:
        await client.close()
    return f"answers CRM_SUPABASE_KEY at {settings.url}"
