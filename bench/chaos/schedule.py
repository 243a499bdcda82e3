"""Which faults happen when: made from the seed alone, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# How often each is drawn. What takes a worker away is what most goes wrong in life.
KINDS = {
    "kill a worker": 8,
    "stop a worker": 3,
    "freeze a worker": 3,
    "terminate backends": 3,
    "restart the server": 1,
    "crash the server": 2,
    "cut connections": 3,
    "black-hole connections": 2,
    "strand connections": 2,
    "use up connections": 1,
    "change settings of the role": 1,
    "release another version": 2,
    "fill the disk": 2,
}
EPOCH_SECONDS = 10.0
# Seconds between one fault's end and the next one's begin.
PAUSES = (0.1, 1.5)
# For faults that last.
HOLDS = (0.2, 3.0)


@dataclass(frozen=True)
class Fault:
    """A kind, seconds to wait before it, how long it lasts if it lasts, and a number that says whom it hits."""

    kind: str
    pause: float
    hold: float
    victim: int


@dataclass(frozen=True)
class Epoch:
    """The faults of one round under load, and the seed of its writers."""

    number: int
    seed: str
    faults: tuple[Fault, ...]


def epochs(seed: int, seconds: float) -> Iterator[Epoch]:
    """Rounds of about ten seconds each, until so many have been planned for."""
    for number in range(max(1, round(seconds / EPOCH_SECONDS / 2))):
        chance = random.Random(f"{seed}/{number}")
        faults: list[Fault] = []
        planned = 0.0
        while planned < EPOCH_SECONDS:
            (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
            fault = Fault(kind, chance.uniform(*PAUSES), chance.uniform(*HOLDS), chance.randrange(1000))
            planned += fault.pause + fault.hold
            faults.append(fault)
        yield Epoch(number, f"{seed}/{number}", tuple(faults))
