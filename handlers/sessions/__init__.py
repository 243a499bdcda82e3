"""purchases, invoices and sessions: what follows a change of one of them, in this database and exactly once.

A paid purchase gets its invoice (`completing`); a session's status reaches its purchase and `session_events`
(`following`); an invoice's changes reach `invoice_audit_log` (`audit`); every minute the time of what is active is
counted down (`countdown`). What an application calls in between is SQL, in schema/sessions. All of these handlers are
transactional: one statement or a few per batch, committed with the cursor.
"""

from __future__ import annotations

from handlers.sessions.audit import audit_invoice
from handlers.sessions.commands import invoice, purchases
from handlers.sessions.completing import complete_purchase
from handlers.sessions.countdown import count_down
from handlers.sessions.following import follow_session
from worker import reads

__all__ = ["audit_invoice", "complete_purchase", "count_down", "follow_session", "invoice", "purchases"]

reads(
    "public.purchases",
    "public.invoices",
    "public.active_game_sessions_v2",
    "public.session_suspects",
    "public.session_disagreements",
    "public.purchase_session_overview",
)
