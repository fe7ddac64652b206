"""Jobs as their workers sign them, and receipts of them."""

from dataclasses import replace
from datetime import UTC, datetime

from job_fakes import (
    ANSWER,
    DECISION,
    SIGNER,
    STARTED,
    USAGE,
    running_job,
)

from job_service.domain.digests import output_digest, prompt_digest
from job_service.domain.execution import Finished, FinishReason, Progress, SignedResult
from service_kit.signatures import SigningKey, canonical_json

WORKER = SigningKey.generate()
MODEL_DIGEST = "ab" * 32
WORKER_STARTED = replace(STARTED, model_digest=MODEL_DIGEST)
COMPLETED_AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def worker_statement(job, progress, usage=USAGE, **changes):
    """Return what an honest worker says about a job that runs, but for the changes."""
    ended = job.completed(progress)
    return {
        "type": "weir.result.v1",
        "job_id": job.id,
        "attempt": job.attempt,
        "worker_id": progress.started.worker_id,
        "operation": job.specification.operation.value,
        "model": progress.started.model,
        "model_digest": progress.started.model_digest,
        "prompt_digest": prompt_digest(job.specification),
        "output_digest": output_digest(ended),
        "tokens_input": usage.tokens_input,
        "tokens_output": usage.tokens_output,
        "finish_reason": "stop",
        "started_at": "2026-01-02T03:04:04Z",
        "finished_at": "2026-01-02T03:04:05Z",
        **changes,
    }


def signed(statement, key=WORKER):
    raw = statement if isinstance(statement, bytes) else canonical_json(statement)
    return SignedResult(raw, key.key_id, key.sign(raw), key.public_key)


def progress_of(*events):
    progress = Progress()
    for event in events:
        progress.note(event)
    return progress


def vouched(job, *answer, usage=USAGE, key=WORKER, **changes):
    """Return the events of an answer with its worker's signature, changed as asked."""
    begun = (WORKER_STARTED, *(answer or ANSWER[2:-1]))
    unsigned = progress_of(*begun, Finished(FinishReason.STOP, usage))
    statement = worker_statement(job, unsigned, usage, **changes)
    return (DECISION, *begun, Finished(FinishReason.STOP, usage, signed(statement, key)))


def ended_job(*events, job=None):
    """Return a completed job and what arrived of it."""
    job = job or running_job()
    progress = progress_of(*(events or vouched(job)))
    return replace(job.completed(progress), completed_at=COMPLETED_AT), progress


__all__ = ["SIGNER", "WORKER", "ended_job", "progress_of", "signed", "vouched", "worker_statement"]
