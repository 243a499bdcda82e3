"""Keys: which are accepted, revoked, or lack a permission, and the mode a key belongs to.

Errors as documented at docs.stripe.com/api/authentication and docs.stripe.com/error-codes.
"""

from __future__ import annotations

import base64
import binascii

from handlers.stripe.local.errors import Refusal
from handlers.stripe.local.store import new_id

SECRET_PREFIXES = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")


class Access:
    """The keys of one account. With `accept_any_key`, every well-formed secret key is one of them."""

    def __init__(self, account: str, *, accept_any_key: bool) -> None:
        self._account = account
        self._accept_any = accept_any_key
        self._keys: set[str] = set()
        self._revoked: set[str] = set()
        self._lacking: dict[str, frozenset[str]] = {}

    def issue(self, prefix: str = "sk_test_") -> str:
        """Make a new random key with one of Stripe's prefixes, and accept it."""
        if prefix not in SECRET_PREFIXES:
            raise ValueError(f"A secret key starts with one of {', '.join(SECRET_PREFIXES)}, not {prefix!r}.")
        return self.accept(prefix + new_id("local_", 24))

    def accept(self, key: str) -> str:
        """Accept a key that exists already."""
        self._keys.add(key)
        return key

    def revoke(self, key: str) -> None:
        """Answer 401 to this key from now on."""
        self._revoked.add(key)

    def forbid(self, key: str, *permissions: str) -> None:
        """Take these permissions, such as `rak_price_write`, from the key: 403 where one is needed."""
        self._lacking[key] = frozenset(permissions)

    def admit(self, authorization: str | None) -> str:
        """Return the key of an Authorization header (Bearer, or Basic with the key as user name).

        Raises Refusal: 401 for a missing, wrong or revoked key, 403 for a publishable one.
        """
        key = _key_of(authorization or "")
        if not key:
            raise Refusal(401, _NO_KEY)
        if key in self._revoked:
            message = f"Expired API Key provided: {masked(key)}"
            raise Refusal(401, message, code="api_key_expired")
        if key.startswith("pk_"):
            message = "This API call cannot be made with a publishable API key. Please use a secret API key."
            raise Refusal(403, message, code="secret_key_required")
        if key in self._keys or (self._accept_any and key.startswith(SECRET_PREFIXES)):
            return key
        raise Refusal(401, f"Invalid API Key provided: {masked(key)}")

    def permit(self, key: str, permission: str) -> None:
        """Raise Refusal (403) when the key lacks the permission."""
        if permission in self._lacking.get(key, ()):
            message = (
                f"The provided key '{masked(key)}' does not have the required permissions for this endpoint "
                f"on account '{self._account}'. Having the '{permission}' permission would allow this "
                "request to continue."
            )
            raise Refusal(403, message)


_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using "
    "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
    "https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/."
)


def masked(key: str) -> str:
    """Return the key as Stripe shows it in errors: its prefix and the last four characters."""
    return f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:] if len(key) > 16 else ''}"


def is_live(key: str) -> bool:
    """Say whether the key belongs to live mode."""
    return key.startswith(("sk_live_", "rk_live_"))


def _key_of(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
