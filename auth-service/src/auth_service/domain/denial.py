"""Refusals of tokens before their time is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# What verifiers forgive between two clocks; a denial has to outlive it.
CLOCK_LEEWAY = timedelta(seconds=30)


class DenialKind(StrEnum):
    """What the subject of a denial names."""

    SESSION = "session"
    USER = "user"
    KEY = "key"
    MEMBERSHIP = "membership"


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal; `sequence` is 0 until it is stored.

    `subject` is a session id, user id, key id, or `user_id:project_id`, by kind.
    """

    kind: DenialKind
    subject: str
    denied_at: datetime
    expires_at: datetime
    sequence: int = 0


def deny(kind: DenialKind, subject: str, now: datetime, token_life: timedelta) -> Denial:
    """Return a denial that outlives every token concerned.

    Args:
        token_life: The longest life of a token of that kind.
    """
    return Denial(kind, subject, now, now + token_life + CLOCK_LEEWAY)


def membership_subject(user_id: str, project_id: str) -> str:
    """Name a person's part in a project."""
    return f"{user_id}:{project_id}"
