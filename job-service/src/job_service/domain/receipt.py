"""What is vouched for about a job that has ended (docs/receipts.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from job_service.domain.decision import RouteDecision
from job_service.domain.digests import output_digest, prompt_digest
from job_service.domain.job import Job
from job_service.domain.result_statement import NO_RESULT, ReadResult
from job_service.domain.statement_forms import RECEIPT_TYPE
from service_kit.signatures import canonical_json

SIGNER: Final = "job-service"
"""Whose the keys are that sign receipts."""
MAX_RESPONSE_ID_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class Receipt:
    """A statement, the very bytes that were signed, with its signature."""

    job_id: str
    admission: int
    statement: bytes
    key_id: str
    signature: bytes

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys that are needed to verify it, the worker's among them."""
        result = json.loads(self.statement)["result"]
        return (self.key_id, result["key_id"]) if result else (self.key_id,)


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """A public key, 32 raw bytes, named by its thumbprint. The store stamps `created_at`."""

    key_id: str
    public_key: bytes
    owner: str
    created_at: datetime | None = None


def statement_of(job: Job, result: ReadResult = NO_RESULT, provider_response_id: str = "") -> bytes:
    """Return what to sign about a job that has come to a final state, in canonical JSON.

    Args:
        job: As it was stored.
        result: What its worker said, where one said anything.
        provider_response_id: By which a provider knows its answer; empty for none.
    """
    if not job.state.is_final or job.completed_at is None:
        raise ValueError(f"job {job.id} is {job.state}: nothing to vouch for yet")
    usage = job.usage
    return canonical_json(
        {
            "type": RECEIPT_TYPE,
            "job_id": job.id,
            "project_id": job.project_id,
            "kind": job.kind.value,
            "job_type": job.specification.type,
            "state": job.state.value,
            "admission": job.admission,
            "attempt": job.attempt,
            "target": job.executed_target,
            "model": job.executed_model,
            "prompt_digest": prompt_digest(job.specification),
            "output_digest": output_digest(job),
            "tokens_input": usage.tokens_input if usage else 0,
            "tokens_output": usage.tokens_output if usage else 0,
            "usage_source": job.usage_source.value if job.usage_source else None,
            "charge_nanousd": job.charge_nanousd or 0,
            "price_version": job.terms.price_version if job.terms else None,
            "decision": _decision(job.decision),
            "provider_response_id": provider_response_id[:MAX_RESPONSE_ID_CHARACTERS] or None,
            "result": _result(result),
            "result_problem": result.problem,
            "issued_at": f"{job.completed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
    )


def _decision(decision: RouteDecision | None) -> Mapping[str, Any] | None:
    if decision is None:
        return None
    return {
        "target": decision.target,
        "reason": decision.reason,
        "complexity": decision.complexity.score,
    }


def _result(result: ReadResult) -> Mapping[str, Any] | None:
    if result.signed is None or result.statement is None:
        return None
    return {
        "statement": result.statement,
        "key_id": result.signed.key_id,
        "signature": result.signed.signature.hex(),
    }
