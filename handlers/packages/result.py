"""What a bulk sync takes and returns, in the words of its HTTP endpoint. Below `runs` and `bulk`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class SyncOptions(BaseModel):
    """batch_size profiles between two pauses; at most max_profiles; of only_new_profiles those never synced before."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    batch_size: int = Field(default=20, ge=1, le=1000)
    max_profiles: int | None = Field(default=None, ge=1)
    only_new_profiles: bool = False


class SyncResult(BaseModel):
    """Counts of profiles and of the packages they have; `errors` has a line for each failed profile, up to a limit."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    total_profiles: int
    successful_profiles: int
    failed_profiles: int
    total_packages: int
    errors: list[str]
    duration: str


class SyncAnswer(BaseModel):
    """What a finished bulk sync answers: dump it with `by_alias=True`. `timestamp` is its end, in UTC."""

    success: bool
    result: SyncResult
    timestamp: str


@dataclass(frozen=True)
class UnderWay:
    """What a second bulk sync learns about the first."""

    started_at: datetime
    done: int
    profiles: int

    def __str__(self) -> str:
        return f"a bulk sync is running since {self.started_at:%H:%M:%S} UTC: {self.done} of {self.profiles} profiles"
