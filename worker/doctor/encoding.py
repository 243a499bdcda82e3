"""Whether the database's text can be read as what it says it is."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, fine, wrong
from worker.doctor.patient import Patient
from worker.install.migrate import unfit_encoding

# With SQL_ASCII Postgres neither checks nor converts text.
# https://www.postgresql.org/docs/current/multibyte.html
ENCODING: LiteralString = "select current_setting('server_encoding') as name"

ASCII = (
    "SQL_ASCII: Postgres takes any bytes as text here, and an event with text that is not UTF-8 cannot be read and ends"
    " dead. Move to a database made with encoding 'UTF8'"
)


async def check_encoding(patient: Patient) -> list[Finding]:
    """What encoding text is kept in."""
    name = (await patient.row(ENCODING))["name"]
    if name == "UTF8":
        return [fine("encoding", name)]
    return [wrong("encoding", ASCII if name == "SQL_ASCII" else unfit_encoding(name))]
