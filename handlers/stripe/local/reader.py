"""Typed reading of one endpoint's parameters: the validation Stripe does before an endpoint begins.

Each method returns the value asked for, or raises the `Refusal` a client of Stripe would get. Where Stripe's
own sentence is known (its documentation, public error reports) it is used word for word.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from handlers.stripe.local.errors import Refusal, invalid, missing_parameter, unknown_parameters
from handlers.stripe.local.forms import Form

CLEAR: dict[str, str] = {}
"""What `metadata` returns for an empty string: remove every key. Compared by identity."""


class Reader:
    """The parameters of one request (or of one hash inside it, whose name is then the `prefix`)."""

    def __init__(self, form: Form, prefix: str = "") -> None:
        self._form = form
        self._prefix = prefix

    def full(self, name: str) -> str:
        """Return the name as the client wrote it, with the brackets around it."""
        return f"{self._prefix}[{name}]" if self._prefix else name

    def has(self, name: str) -> bool:
        """Say whether the parameter was sent, empty or not."""
        return name in self._form

    def is_hash(self, name: str) -> bool:
        """Say whether the parameter was sent with brackets after its name."""
        return isinstance(self._form.get(name), dict)

    def only(self, known: Iterable[str], unsupported: Iterable[str] = ()) -> None:
        """Refuse parameters that Stripe does not know, and those it knows but this server does not."""
        left_out = sorted(self._form.keys() & set(unsupported))
        if left_out:
            message = f"The local Stripe does not implement '{self.full(left_out[0])}'."
            raise invalid(message, self.full(left_out[0]))
        unknown = [self.full(name) for name in self._form if name not in known]
        if unknown:
            raise unknown_parameters(unknown)

    def text(self, name: str, *, clearable: bool = False, limit: int = 5000) -> str | None:
        """Return the string, or None when it was not sent or (where `clearable`) was sent empty."""
        value = self._form.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {self.full(name)} must be a string.", self.full(name))
        if not value:
            if clearable:
                return None
            raise self._not_clearable(name)
        if len(value) > limit:
            message = f"Invalid string: {value[:16]}…{value[-4:]}; must be at most {limit} characters"
            raise invalid(message, self.full(name))
        return value

    def _not_clearable(self, name: str) -> Refusal:
        full = self.full(name)
        message = (
            f"You passed an empty string for '{full}'. We assume empty values are an attempt to unset a "
            f"parameter; however '{full}' cannot be unset. You should remove '{full}' from your request or "
            "supply a non-empty value."
        )
        return invalid(message, full, "parameter_invalid_empty")

    def required(self, name: str, limit: int = 5000) -> str:
        """Return a string that has to be there and cannot be empty."""
        value = self.text(name, limit=limit)
        if value is None:
            raise missing_parameter(self.full(name))
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str | None:
        """Return one of `options`."""
        value = self.text(name)
        if value is not None and value not in options:
            allowed = f"{', '.join(options[:-1])}, or {options[-1]}" if len(options) > 1 else options[0]
            raise invalid(f"Invalid {self.full(name)}: must be one of {allowed}", self.full(name))
        return value

    def flag(self, name: str) -> bool | None:
        """Return a boolean; on the wire it is the word `true` or `false`."""
        value = self.text(name)
        if value is None:
            return None
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", self.full(name))
        return value == "true"

    def integer(self, name: str, minimum: int = 0, maximum: int | None = None) -> int | None:
        """Return an integer within the bounds, both included."""
        value = self.text(name)
        if value is None:
            return None
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise invalid(f"Invalid integer: {value}", self.full(name), "parameter_invalid_integer")
        number = int(value)
        if number < minimum:
            raise self._outside(name, f"greater than or equal to {minimum}")
        if maximum is not None and number > maximum:
            raise self._outside(name, f"less than or equal to {maximum}")
        return number

    def _outside(self, name: str, bound: str) -> Refusal:
        return invalid(f"This value must be {bound}.", self.full(name), "parameter_invalid_integer")

    def decimal(self, name: str) -> Decimal | None:
        """Return a non-negative decimal of at most 12 places."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise invalid(f"Invalid decimal: {value}", self.full(name)) from None
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -12 or number < 0:
            raise invalid(f"Invalid decimal: {value}", self.full(name))
        return number

    def texts(self, name: str, limit: int = 100, *, clearable: bool = False) -> list[str] | None:
        """Return an array of strings of at most `limit` elements; an empty string is an empty one."""
        value = self._form.get(name)
        if value is None:
            return None
        if value == "" and clearable:
            return []
        if isinstance(value, str):
            raise invalid("Invalid array", self.full(name))
        items = [item for item in value.values() if isinstance(item, str)]
        if len(items) < len(value) or len(items) > limit:
            raise invalid(f"Invalid array: at most {limit} strings are allowed.", self.full(name))
        return items

    def child(self, name: str) -> Reader | None:
        """Return the reader of a hash parameter."""
        value = self._form.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            raise invalid("Invalid object", self.full(name))
        return Reader(value, self.full(name))

    def metadata(self) -> dict[str, str]:
        """Return the keys to set (an empty value means: remove), or `CLEAR` to remove all of them.

        Limits: 50 keys of 40 characters, values of 500 (docs.stripe.com/api/metadata).
        """
        if self._form.get("metadata") == "":
            return CLEAR
        hash_ = self.child("metadata")
        if hash_ is None:
            return {}
        return {key: hash_._metadata_value(key) for key in hash_._form}

    def _metadata_value(self, key: str) -> str:
        value = self._form[key]
        if not isinstance(value, str):
            raise invalid("Invalid string: metadata values must be strings.", self.full(key))
        too_long = _too_long("key", key, 40) or _too_long("value", value, 500)
        if too_long:
            raise invalid(too_long, "metadata")
        return value


def _too_long(what: str, text: str, limit: int) -> str | None:
    if len(text) <= limit:
        return None
    return (
        f"Metadata {what}s can have up to {limit} characters, but you passed in a {what} that is {len(text)} "
        f"characters. Invalid {what}: {text[:64]}"
    )


def merged_metadata(old: dict[str, str], sent: dict[str, str]) -> dict[str, str]:
    """Return `old` with `sent` put over it; an empty value removes its key, `CLEAR` removes them all."""
    if sent is CLEAR:
        return {}
    return {key: value for key, value in {**old, **sent}.items() if value != ""}
