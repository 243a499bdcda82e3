"""Promise: what differs is told from whole rows as they are written, whatever JSON Postgres takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.change import former, members, readable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)
ROWS = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)


@given(row=ROWS, spaced=st.booleans())
def test_a_row_is_taken_apart_into_its_members(row: dict[str, Any], spaced: bool) -> None:
    """Names and values as they are written, brackets, quotes and escapes in strings included."""
    found = members(json.dumps(row, separators=(", ", " : ") if spaced else (",", ":")))
    assert {json.loads(name): json.loads(value) for name, value in found.items()} == row


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
def test_what_python_cannot_read_is_shown_as_it_is_written(value: str) -> None:
    """The other columns are read as always; and it may differ."""
    assert readable('{"id":1,"v":' + value + "}") == {"id": 1, "v": value}
    assert former("update", '{"v":' + value + "}", '{"v":0}') == '{"v":' + value + "}"
