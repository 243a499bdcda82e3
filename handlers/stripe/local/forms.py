"""Bracketed form encoding, the wire format of Stripe's v1 API, to nested dictionaries.

`metadata[a]=1&lookup_keys[]=x` becomes `{"metadata": {"a": "1"}, "lookup_keys": {"0": "x"}}`. Arrays stay
dictionaries here: only the reader of a parameter knows whether numbers are positions or metadata keys.
"""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import parse_qsl

from handlers.stripe.local.errors import invalid

Form: TypeAlias = "dict[str, str | Form]"

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")


def parse_form(text: str) -> Form:
    """Return the parameters of a query string or form body, nested; the last of two equal names wins.

    Raises Refusal (400) for a name with unbalanced brackets or one that is both a value and a hash.
    """
    form: Form = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(form, name, value)
    return form


def _put(form: Form, name: str, value: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        raise invalid(f"Invalid parameter name: {name}", name)
    *path, last = [match[1], *_BRACKETED.findall(match[2])]
    inner = form
    for part in path:
        deeper = inner.setdefault(part or str(len(inner)), {})
        if isinstance(deeper, str):
            raise invalid("Invalid hash", match[1])
        inner = deeper
    inner[last or str(len(inner))] = value
