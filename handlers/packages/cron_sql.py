"""SQL that makes Supabase's pg_cron request the daily sync, for those who want to start it from there.

The secret is read from Supabase's Vault when the job runs: it is neither in this SQL nor in `cron.job`.
https://supabase.com/docs/guides/functions/schedule-functions
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from worker import Schedule, UsageError

JOB = "daily-package-sync"
SECRET = "hearken_cron_secret"  # noqa: S105  # the name under which the Vault has it

_TEMPLATE = """\
-- Once, with the worker's CRON_SECRET: select vault.create_secret('<CRON_SECRET>', '{secret}');
select cron.schedule(
  '{job}',
  '{schedule}',
  $job$
  select net.http_post(
    url := {url},
    headers := jsonb_build_object(
      'Authorization', 'Bearer ' || (select decrypted_secret from vault.decrypted_secrets where name = '{secret}'),
      'Content-Type', 'application/json'
    ),
    body := jsonb_build_object('batchSize', 20, 'maxProfiles', null, 'onlyNewProfiles', false),
    timeout_milliseconds := 300000
  );
  $job$
);"""


def cron_sql(url: str, schedule: str) -> str:
    """The SQL for a worker at `url`, with the five fields of `schedule`. Raises UsageError, DeclarationError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "$" in url or "'" in url:
        raise UsageError("--url must be the worker's address, such as https://worker.example.com")
    Schedule(JOB, schedule).next(datetime.now(UTC))
    address = f"'{url.rstrip('/')}/api/crm/sync-packages?wait=0'"
    return _TEMPLATE.format(secret=SECRET, job=JOB, schedule=schedule, url=address)
