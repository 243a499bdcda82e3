"""What a measurement gives back: figures, each with the bar that it must hold, as the rows of one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One figure. Without a bar it is only told; `side` says on which side of the bar it must be."""

    name: str
    measured: float
    unit: str = ""
    bar: float | None = None
    side: Literal["at most", "at least"] = "at most"

    @property
    def held(self) -> bool | None:
        """Whether it holds its bar; None without one."""
        if self.bar is None:
            return None
        return self.measured <= self.bar if self.side == "at most" else self.measured >= self.bar

    def cells(self) -> tuple[str, str, str, str]:
        """Its row: figure, measured, bar, held."""
        bar = "" if self.bar is None else f"{self.side} {_number(self.bar)} {self.unit}".rstrip()
        held = {None: "", True: "yes", False: "NO"}[self.held]
        return self.name, f"{_number(self.measured)} {self.unit}".rstrip(), bar, held


def at_most(name: str, measured: float, bar: float, unit: str = "") -> Figure:
    """A figure that must not be more."""
    return Figure(name, measured, unit, bar, "at most")


def at_least(name: str, measured: float, bar: float, unit: str = "") -> Figure:
    """A figure that must not be less."""
    return Figure(name, measured, unit, bar, "at least")


def table(figures: Iterable[Figure]) -> str:
    """All of them, one a line."""
    rows = [("figure", "measured", "bar", "held"), *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
