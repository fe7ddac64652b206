"""The statements that write a job. Each is built once, so that a change costs no building.

Both write the job and the event that tells of it in one round trip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import Interval, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from job_service.adapters.job_rows import STAMPS
from job_service.adapters.tables import jobs
from job_service.domain.job import Job
from job_service.domain.job_state import CLAIMABLE_STATES, FINAL_STATES, JobState

Fence = Literal["leased", "unleased"]

# What a change stamps by the database's clock, by the name under which `stamps_of` asks for it.
_STAMPS: Final = {
    "lease_dropped": "lease_expires_at = NULL",
    "leased": "lease_expires_at = now() + :lease",
    "cancel_requested": "cancel_requested_at = now()",
    # What is told of it begins anew.
    "readmitted": "started_at = NULL, completed_at = NULL, cancel_requested_at = NULL",
    "started": "started_at = coalesce(jobs.started_at, now())",
    "blocked": "blocked_at = now()",
    "available": "available_at = now() + :delay",
    "available_for_retry": "available_at = now() + :delay, next_retry_at = now() + :delay",
    "completed": "completed_at = now(), next_retry_at = NULL",
}
# One lease is told from the next by its token; while nobody holds one, by the last attempt.
_FENCES: Final = {
    "leased": "lease_token = :was_lease_token",
    "unleased": "lease_token IS NULL AND attempt = :was_attempt",
}
_RETURNED: Final = ", ".join(STAMPS)
_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "lease": Interval(),
    "delay": Interval(),
    "event_details": JSONB(),
}


def stamps_of(was: Job, now: Job) -> tuple[str, ...]:
    """Return the names of the stamps that come with a change."""
    return tuple(_stamps(was, now))


def _stamps(was: Job, now: Job) -> Iterable[str]:
    if now.lease_token is None:
        yield "lease_dropped"
    elif now.lease_token != was.lease_token:
        yield "leased"
    if now.cancel_requested and not was.cancel_requested:
        yield "cancel_requested"
    if now.state is was.state:
        return
    if was.state in FINAL_STATES:
        yield "readmitted"
    if now.state is JobState.RUNNING:
        yield "started"
    if now.state is JobState.BLOCKED:
        yield "blocked"
    if now.state is JobState.RETRYING:
        yield "available_for_retry"
    elif now.state in CLAIMABLE_STATES:
        yield "available"
    if now.state in FINAL_STATES:
        yield "completed"


def fence_of(was: Job) -> Fence:
    """Return which fence keeps a change from a job that somebody else has moved on."""
    return "unleased" if was.lease_token is None else "leased"


def _still(fence: Fence) -> str:
    return (
        "job_id = :was_job_id AND state = :was_state AND admission = :was_admission"
        f" AND {_FENCES[fence]}"
    )


def fence_values(was: Job) -> dict[str, Any]:
    """Return what the fence compares the stored job with."""
    return {
        "was_job_id": was.id,
        "was_state": was.state.value,
        "was_admission": was.admission,
        "was_lease_token": was.lease_token,
        "was_attempt": was.attempt,
    }


@cache
def change_statement(changed: tuple[str, ...], stamps: tuple[str, ...], fence: Fence) -> TextClause:
    """Return the compare-and-set that writes these columns and stamps, and the event.

    It gives one row, or none where the job is no longer as it was. There are as many statements
    as kinds of change, some dozens.
    """
    sets = [f"{name} = :{name}" for name in changed]
    sets += [_STAMPS[name] for name in stamps]
    sets.append("event_seq = jobs.event_seq + 1")
    statement = f"""
        WITH stored AS (
            UPDATE jobs SET {", ".join(sets)}
            WHERE {_still(fence)}
            RETURNING job_id, event_seq, cancel_requested_at, {_RETURNED}
        ), told AS (
            INSERT INTO lifecycle_events (job_id, seq, type, details)
            SELECT job_id, event_seq, :event_type, :event_details FROM stored
        )
        SELECT * FROM stored
        """  # noqa: S608 -- names of columns
    return _bound(statement, changed)


@cache
def renew_statement(columns: tuple[str, ...], fence: Fence) -> TextClause:
    """Return the statement that prolongs a lease and notes how far its attempt is.

    It tells whether somebody asked the job to stop, or nothing where the lease is lost.
    """
    sets = [f"{name} = :{name}" for name in columns]
    statement = f"""
        UPDATE jobs SET lease_expires_at = now() + :lease, {", ".join(sets)}
        WHERE {_still(fence)}
        RETURNING cancel_requested_at IS NOT NULL
        """  # noqa: S608 -- names of columns
    return _bound(statement, columns)


@cache
def add_statement(columns: tuple[str, ...]) -> TextClause:
    """Return the statement that adds a job with these columns, and its first event."""
    statement = f"""
        WITH stored AS (
            INSERT INTO jobs ({", ".join(columns)}, lease_expires_at)
            VALUES ({", ".join(f":{name}" for name in columns)}, now() + :lease)
            RETURNING {_RETURNED}
        ), told AS (
            INSERT INTO lifecycle_events (job_id, seq, type, details)
            VALUES (:event_job_id, 1, :event_type, :event_details)
        )
        SELECT * FROM stored
        """  # noqa: S608 -- names of columns
    return _bound(statement, columns)


def _bound(statement: str, columns: Iterable[str]) -> TextClause:
    """Return the statement with the types of what is bound in it."""
    types = {name: jobs.c[name].type for name in columns}
    types |= {name: _TYPES[name] for name in _TYPES if re.search(rf":{name}\b", statement)}
    return text(statement).bindparams(*(bindparam(name, type_=types[name]) for name in types))
