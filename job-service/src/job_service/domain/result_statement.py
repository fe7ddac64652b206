"""What a worker says about its result, and whether that is what we saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from job_service.domain.digests import output_digest, prompt_digest
from job_service.domain.execution import Progress, SignedResult
from job_service.domain.job import Job
from job_service.domain.statement_forms import (
    RESULT_TYPE,
    MalformedStatement,
    check_result_form,
)
from job_service.domain.strict_json import MalformedJson, strict_json
from service_kit.signatures import canonical_json, is_signed, key_id_of

MAX_STATEMENT_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A worker's statement, or why it was not accepted. Of a provider's work neither."""

    signed: SignedResult | None = None
    statement: Mapping[str, Any] | None = None
    problem: str | None = None


NO_RESULT: Final = ReadResult()


def read_result(job: Job, progress: Progress | None) -> ReadResult:
    """Compare what the worker signed with what arrived here.

    Args:
        job: As it ended.
        progress: Everything that arrived of its last attempt.
    """
    if progress is None or progress.finished is None or progress.finished.signed_result is None:
        return NO_RESULT
    signed = progress.finished.signed_result
    try:
        return ReadResult(signed, _accepted(signed, _seen(job, progress)))
    except _Refused as error:
        return ReadResult(problem=str(error))


def refused(problem: str) -> ReadResult:
    """Return the result as one that was not accepted."""
    return ReadResult(problem=problem)


def worker_owner(worker_id: str) -> str:
    """Return whose a worker's key is."""
    return f"gpu-worker/{worker_id}"


class _Refused(Exception):
    pass


def _accepted(signed: SignedResult, seen: Mapping[str, object]) -> Mapping[str, Any]:
    if signed.key_id != key_id_of(signed.public_key):
        raise _Refused("The key id is not the thumbprint of the key.")
    if not is_signed(signed.statement, signed.signature, signed.public_key):
        raise _Refused("The signature does not fit the statement.")
    statement = _parsed(signed.statement)
    try:
        check_result_form(statement)
    except MalformedStatement as error:
        raise _Refused(str(error)) from error
    different = [name for name, value in seen.items() if statement[name] != value]
    if different:
        raise _Refused(f"Not what was seen here: {', '.join(different)}.")
    return statement


def _parsed(raw: bytes) -> Mapping[str, Any]:
    """Return the statement, which has to be written in the one way there is."""
    if len(raw) > MAX_STATEMENT_BYTES:
        raise _Refused(f"The statement has more than {MAX_STATEMENT_BYTES} bytes.")
    try:
        statement = strict_json(raw)
        is_canonical = canonical_json(statement) == raw
    except (MalformedJson, TypeError, ValueError, RecursionError):
        is_canonical = False
    if not is_canonical or not isinstance(statement, dict):
        raise _Refused("The statement is no object in canonical JSON.")
    return statement


def _seen(job: Job, progress: Progress) -> dict[str, object]:
    started, usage = progress.started, job.usage
    return {
        "type": RESULT_TYPE,
        "job_id": job.id,
        "attempt": job.attempt,
        "worker_id": started.worker_id if started else None,
        "operation": job.specification.operation.value,
        "model": started.model if started else None,
        "model_digest": started.model_digest if started else None,
        "prompt_digest": prompt_digest(job.specification),
        "output_digest": output_digest(job),
        "tokens_input": usage.tokens_input if usage else None,
        "tokens_output": usage.tokens_output if usage else None,
    }
