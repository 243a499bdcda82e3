"""Promise: an event's row can be read, whatever one of its columns holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.change import Change, former, members, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)
ROWS = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)
DEEP = "[" * 50_000 + "]" * 50_000


def changed(row: str) -> dict[str, Any]:
    change = Change(id=1, at=datetime.now(UTC), topic="public.t", op="insert", key="1", new_json=row)
    assert change.new is not None
    return change.new


@pytest.mark.parametrize(
    ("document", "value"),
    [(DEEP, DEEP), (f'{{"a": {DEEP}}}', f'{{"a": {DEEP}}}'), ("1" + "0" * 5_000, Decimal(10) ** 5_000)],
)
def test_a_column_that_python_cannot_hold_is_given_all_the_same(document: str, value: object) -> None:
    """Nested 50,000 deep it is text, of 5,001 digits a Decimal; the columns beside it keep their types."""
    row = changed(f'{{"id": 7, "price": 1.50, "odd": {document}, "b\\"[": [1, {{"c": "}},"}}], "last": null}}')
    assert row == {"id": 7, "price": Decimal("1.50"), "odd": value, 'b"[': [1, {"c": "},"}], "last": None}


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]))
def test_members_are_told_apart_as_json_does(row: dict[str, Any], indent: int | None) -> None:
    """Whatever stands in names and values."""
    document = json.dumps(row, indent=indent)
    assert {json.loads(name): json.loads(value) for name, value in members(document).items()} == row


def test_what_is_no_json_is_no_row() -> None:
    """It is not guessed at."""
    with pytest.raises(ValueError, match="Expecting"):
        parse('{"a": }')


@given(old=ROWS, new=ROWS)
def test_what_differs_is_what_is_written_otherwise(old: dict[str, Any], new: dict[str, Any]) -> None:
    """A column that is gone counts; 1 and true are two things, though not to Python."""
    told = json.loads(former("update", json.dumps(old), json.dumps(new)) or "")
    assert told == {c: v for c, v in old.items() if c not in new or json.dumps(new[c]) != json.dumps(v)}


@pytest.mark.parametrize("op", ["insert", "delete", "snapshot"])
def test_only_an_update_has_a_difference(op: str) -> None:
    """Of a delete the whole row is told."""
    assert former(op, '{"a":1}', '{"a":1}') == '{"a":1}'


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 3000 + "]" * 3000], ids=["digits", "nested"])
def test_what_python_cannot_hold_may_differ_too(value: str) -> None:
    """It is compared as it is written."""
    assert former("update", '{"v":' + value + "}", '{"v":0}') == '{"v":' + value + "}"
