"""What a space is called at Stripe: its product's id and its price's lookup key, from the row's key. Before `subject`.

A key of ASCII letters, digits, - and _ stands in them as it is (`space_42`). Any other text, or a long one, stands in
them as a hash: an id is part of URLs, a lookup key has 200 characters at most, and rows have keys like `a/b` or `..`.
"""

from __future__ import annotations

import hashlib
import re

# https://docs.stripe.com/api/prices/create: a lookup key has 200 characters at most, of which a prefix may take 100.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HASHED = re.compile(r"key-[0-9a-f]{40}")
# https://docs.stripe.com/api/metadata: characters of a value.
_LONGEST_VALUE = 500


def stripe_id(prefix: str, key: str) -> str:
    """The id of the product of the space with this key, and the lookup key of its price."""
    return f"{prefix}{key if _PLAIN.fullmatch(key) and not is_hashed(key) else _hashed(key)}"


def mark_of(key: str) -> str:
    """What the metadata of its product calls the space: its key, as long as that fits."""
    return key if len(key) <= _LONGEST_VALUE and not is_hashed(key) else _hashed(key)


def is_hashed(mark: str) -> bool:
    """Whether the mark is made of a key that did not fit."""
    return _HASHED.fullmatch(mark) is not None


def _hashed(key: str) -> str:
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:40]}"
