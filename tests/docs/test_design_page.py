"""The picture of the design is that of the code."""

from __future__ import annotations

import re

from tests.support.pages import ROOT, Block, page, runs

PAGE = page("docs/design.md")


@runs(PAGE.block("text"))
def test_an_event_passes_nine_files(blocks: tuple[Block]) -> None:
    """They are numbered, and are there; those of the engine are in the rooms that an event passes."""
    named = re.findall(r"(\d)  (\S+\.\w+)", blocks[0].text)
    assert [number for number, _ in named] == list("123456789")
    assert all((ROOT / name).is_file() for _, name in named)
    rooms = [name.split("/")[1] for _, name in named if name.startswith("worker/")]
    assert set(rooms) == {"capture", "doorbell", "deliver", "log"}


def test_the_picture_is_the_only_one() -> None:
    """And comes first, below its question."""
    assert len(PAGE.blocks) == 1
    assert PAGE.headings[:2] == ["Design", "Where does an event go?"]
