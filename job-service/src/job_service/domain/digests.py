"""Digests by which a receipt and a worker name a prompt and an answer (docs/receipts.md)."""

from __future__ import annotations

import hashlib
from typing import Any

from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.specification import JobSpecification, Operation
from service_kit.signatures import canonical_json


def prompt_digest(specification: JobSpecification) -> str:
    """Return the SHA-256 of what was asked, hexadecimal."""
    asked: dict[str, Any]
    if specification.operation is Operation.CHAT:
        messages = [{"role": each.role, "content": each.content} for each in specification.messages]
        asked = {"messages": messages}
    else:
        asked = {"inputs": list(specification.inputs)}
    return hashlib.sha256(canonical_json(asked)).hexdigest()


def output_digest(job: Job) -> str | None:
    """Return the SHA-256 of what was answered, hexadecimal; `None` where nothing was."""
    if job.result_embeddings is not None:
        return hashlib.sha256(job.result_embeddings).hexdigest()
    if not job.result_text and job.state is not JobState.COMPLETED:
        return None
    return hashlib.sha256((job.result_text or "").encode()).hexdigest()
