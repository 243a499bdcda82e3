"""Handlers of `public.things` for worker processes of the tests (HEARKEN_HANDLERS): each tells the `Witness`."""

from __future__ import annotations

import os

BATCH = int(os.environ.get("OBSERVED_BATCH", "4"))
"""Small, so that a few events make several batches."""
