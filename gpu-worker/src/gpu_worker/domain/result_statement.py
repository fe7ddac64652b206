"""What a worker says about a result and signs: the form is in docs/receipts.md."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gpu_worker.domain.generation import Delta, Embedding, FinishReason, SignedResult
from gpu_worker.domain.prompt import Operation, Prompt
from service_kit.signatures import SigningKey, canonical_json

STATEMENT_TYPE: Final = "weir.result.v1"


@dataclass(frozen=True, slots=True)
class ResultStatement:
    """Who answered what, with which model, how, and when."""

    job_id: str
    attempt: int
    worker_id: str
    operation: Operation
    model: str
    model_digest: str
    prompt_digest: str
    output_digest: str
    tokens_input: int
    tokens_output: int
    finish_reason: FinishReason
    started_at: datetime
    finished_at: datetime

    def canonical(self) -> bytes:
        """Return the statement as canonical JSON."""
        return canonical_json(
            {
                "type": STATEMENT_TYPE,
                "job_id": self.job_id,
                "attempt": self.attempt,
                "worker_id": self.worker_id,
                "operation": str(self.operation),
                "model": self.model,
                "model_digest": self.model_digest,
                "prompt_digest": self.prompt_digest,
                "output_digest": self.output_digest,
                "tokens_input": self.tokens_input,
                "tokens_output": self.tokens_output,
                "finish_reason": str(self.finish_reason),
                "started_at": _written(self.started_at),
                "finished_at": _written(self.finished_at),
            }
        )

    def signed_by(self, key: SigningKey) -> SignedResult:
        statement = self.canonical()
        return SignedResult(statement, key.key_id, key.sign(statement), key.public_key)


def prompt_digest(prompt: Prompt) -> str:
    """Return the SHA-256 of what was asked, hexadecimal."""
    if prompt.operation is Operation.CHAT:
        asked: dict[str, object] = {
            "messages": [
                {"content": message.content, "role": str(message.role)}
                for message in prompt.messages
            ]
        }
    else:
        asked = {"inputs": list(prompt.inputs)}
    return hashlib.sha256(canonical_json(asked)).hexdigest()


class OutputDigest:
    """The SHA-256 of an answer, piece by piece as it comes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, piece: Delta | Embedding) -> None:
        """Take in a text as UTF-8, a vector as little-endian 32-bit floats."""
        if isinstance(piece, Delta):
            self._hash.update(piece.text.encode())
        else:
            self._hash.update(struct.pack(f"<{len(piece.values)}f", *piece.values))

    @property
    def hexadecimal(self) -> str:
        return self._hash.hexdigest()


def _written(time: datetime) -> str:
    """Return a time as RFC 3339 writes it, in UTC and with microseconds."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
