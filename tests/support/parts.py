"""What tests need that does not come with Python's packages: a program, the history.

Where it is missing, a test that needs it is skipped and says why. In CI (`CI=true`) it fails: a skip would hide it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import pytest

T = TypeVar("T")


class Missing(Exception):
    """A part is not here; the message says which, and what to do."""


def needed(part: Callable[[], T]) -> T:
    """The part that the function finds, which raises Missing where it is not here."""
    found: T | Missing = _find(part)
    if not isinstance(found, Missing):
        return found
    if os.environ.get("CI"):
        pytest.fail(str(found), pytrace=False)
    pytest.skip(str(found))


@cache  # a search that fails may take a minute
def _find(part: Callable[[], T]) -> T | Missing:
    try:
        return part()
    except Missing as missing:
        return missing
