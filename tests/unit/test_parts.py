"""Promise: a part that is missing is a skipped test here, and a failed one in CI; nothing is hidden."""

from __future__ import annotations

import pytest

from tests.support.parts import Missing, needed


@pytest.fixture(params=["here", "in CI"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A developer's machine, or one that runs CI."""
    monkeypatch.delenv("CI", raising=False)
    if request.param == "in CI":
        monkeypatch.setenv("CI", "true")
    return str(request.param)


def test_a_missing_part_skips_here_and_fails_in_ci(place: str) -> None:
    """With the reason; it is looked for once, as a search may be slow."""
    searches = []

    def absent() -> str:
        searches.append(place)
        raise Missing("no npm: install it")

    outcome = {"here": pytest.skip.Exception, "in CI": pytest.fail.Exception}[place]
    for _ in range(2):
        with pytest.raises(outcome, match="no npm: install it"):
            needed(absent)
    assert searches == [place]


def test_a_part_that_is_there_is_given(place: str) -> None:
    """Whatever the place."""
    assert needed(lambda: 42) == 42
