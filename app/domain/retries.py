"""After which ends of an attempt a deployment wants another one."""

from typing import Annotated

from pydantic import Field, field_validator

from app.domain.job import RETRIABLE, Reason
from app.domain.members import Member


class RetryPolicy(Member):
    """After which ends of an attempt another one is made, also where its request was sent."""

    max_attempts: Annotated[int, Field(strict=True, ge=1, le=100)]  # the first included
    on: Annotated[tuple[Reason, ...], Field(json_schema_extra={"items": {"enum": [*RETRIABLE]}})]

    @field_validator("on")
    @classmethod
    def _are_failures(cls, value: tuple[Reason, ...]) -> tuple[Reason, ...]:
        if wrong := [reason for reason in value if reason not in RETRIABLE]:
            raise ValueError(f"{wrong[0]} can't be retried; allowed: {', '.join(RETRIABLE)}")
        return value
