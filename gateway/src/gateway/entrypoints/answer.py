"""The answer of a job that runs while its caller waits: what is known of it so far.

How it is written down differs by route; see the shapes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from fastapi.responses import JSONResponse
from weir.job.v1 import job_service_pb2 as pb
from weir.router.v1 import router_service_pb2 as router_pb
from weir.worker.v1 import inference_service_pb2 as worker_pb

from gateway.adapters.job_client import RunningJob
from gateway.domain.money import usd_view
from gateway.entrypoints import convert
from gateway.entrypoints.error_responses import openai_error_response
from service_kit.errors import ErrorCode, ServiceError

log = structlog.get_logger(__name__)

# After these nothing ran and nothing may be charged, so the same request may be tried again.
_NOTHING_RAN: Final = frozenset({"NO_CAPACITY", "TARGET_UNAVAILABLE"})
AMBIGUOUS: Final = "AMBIGUOUS"


class JobNotCompleted(ServiceError):
    """The job ended otherwise than with an answer."""

    code = ErrorCode.UNAVAILABLE
    reason = "EXECUTION_FAILED"

    def __init__(self, job: pb.Job) -> None:
        message = job.last_error or "The model gave no answer."
        if job.failure_reason == AMBIGUOUS:
            message = (
                "The provider gave no answer and may have been paid for it. "
                "You were not charged, and the job is not repeated by itself."
            )
        super().__init__(message, metadata={"job_id": job.job_id})
        state = convert.JOB_STATES.get(job.state, "failed")
        self.reason = job.failure_reason or f"JOB_{state.upper()}"


class EndedEarly(ServiceError):
    """The events of a job ended before it did."""

    code = ErrorCode.UNAVAILABLE
    reason = "EXECUTION_FAILED"

    def __init__(self) -> None:
        super().__init__("The answer ended early.")


class Shape(Protocol):
    """How a route writes an answer down."""

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the answer in one piece.

        Raises:
            EndedEarly: It is not all here.
        """
        ...


@dataclass(slots=True)
class Answer:
    """What is known of an answer so far."""

    requested_model: str
    job_id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    decision: router_pb.RouteDecision | None = None
    started: pb.RunJobResponse.Started | None = None
    job: pb.Job | None = None
    texts: list[str] = field(default_factory=list)
    embeddings: list[worker_pb.Embedding] = field(default_factory=list)

    async def follow(
        self,
        running: RunningJob,
        tell: Callable[[pb.RunJobResponse], Awaitable[None]] | None = None,
    ) -> None:
        """Take in all events of the job, and pass each one on.

        Raises:
            ServiceError: The job was refused, failed, or was lost sight of.
        """
        try:
            while (event := await running.next_event()) is not None:
                self.note(event)
                if tell is not None:
                    await tell(event)
        except ServiceError as error:
            if not self.is_complete:
                raise
            # The result is durable; how the call ended after that changes nothing.
            log.warning("answer.call_broken_after_finish", reason=error.reason)
        if not self.is_complete:
            raise EndedEarly

    @property
    def is_complete(self) -> bool:
        """Whether the whole answer is here and durable."""
        return self.job is not None and self.job.state == pb.JOB_STATE_COMPLETED

    def note(self, event: pb.RunJobResponse) -> None:
        """Take in one event.

        Raises:
            JobNotCompleted: The job ended without an answer.
        """
        match event.WhichOneof("event"):
            case "admitted":
                self.job_id = event.admitted.job_id
                self.created = event.admitted.created_at.seconds
            case "decision":
                self.decision = event.decision
            case "started":
                self.started = event.started
            case "delta":
                self.texts.append(event.delta.text)
            case "embedding":
                self.embeddings.append(event.embedding)
            case "finished":
                self._finish(event.finished.job)

    def _finish(self, job: pb.Job) -> None:
        self.job = job
        # A replay of an earlier request has nothing but this.
        self.job_id = job.job_id
        if job.HasField("created_at"):
            self.created = job.created_at.seconds
        if self.decision is None and job.HasField("decision"):
            self.decision = job.decision
        if job.state != pb.JOB_STATE_COMPLETED:
            raise JobNotCompleted(job)

    @property
    def text(self) -> str:
        """The whole answer."""
        if self.job is not None and self.job.result_text:
            return self.job.result_text
        return "".join(self.texts)

    @property
    def model(self) -> str:
        """The model that answers, as far as it is known."""
        if self.started is not None and self.started.model:
            return self.started.model
        if self.job is not None and self.job.executed_model:
            return self.job.executed_model
        if self.decision is not None and self.decision.model:
            return self.decision.model
        return self.requested_model

    @property
    def target(self) -> str:
        """What runs it, as far as it is known."""
        if self.job is not None and self.job.executed_target:
            return self.job.executed_target
        if self.started is not None and self.started.target:
            return self.started.target
        return self.decision.target if self.decision is not None else ""

    @property
    def finish_reason(self) -> str:
        """`stop` or `length`."""
        reason = convert.FINISH_REASONS[self.job.finish_reason] if self.job is not None else None
        return "length" if reason == "length" else "stop"

    def headers(self) -> dict[str, str]:
        """The `x-weir-` headers."""
        headers = {"x-weir-job-id": self.job_id, "x-weir-target": self.target}
        if self.decision is not None:
            headers["x-weir-complexity"] = str(self.decision.complexity.score)
            headers["x-weir-reason"] = self.decision.reason
        return {name: _printable(value) for name, value in headers.items() if value}

    def may_retry(self, error: ServiceError) -> bool:
        """Tell whether the same request may be sent again after an error.

        Once the job was admitted, work may have begun, and its tokens cost money.
        """
        if error.reason == AMBIGUOUS:
            return False
        if not self.job_id:
            return True
        nothing_came = self.started is None and not self.texts and not self.embeddings
        return nothing_came and error.reason in _NOTHING_RAN

    def failure(self, error: ServiceError) -> JSONResponse:
        """Return the response for an error before any of the answer was sent."""
        response = openai_error_response(error, headers=self.headers())
        if not self.may_retry(error):
            response.headers["x-should-retry"] = "false"
            # A client that knows only this header must not take it for an invitation.
            if "retry-after" in response.headers:
                del response.headers["retry-after"]
        return response

    def usage(self) -> dict[str, Any]:
        """Return the tokens that were used, as the OpenAI API counts them."""
        used = (self.job or pb.Job()).usage
        return {
            "prompt_tokens": used.tokens_input,
            "completion_tokens": used.tokens_output,
            "total_tokens": used.tokens_input + used.tokens_output,
            "prompt_tokens_details": {"cached_tokens": used.tokens_input_cached},
        }

    def weir(self) -> dict[str, Any]:
        """Return what the OpenAI API has no place for."""
        job = self.job or pb.Job()
        charged = job.actual_cost_nanousd if job.HasField("actual_cost_nanousd") else None
        decision = None if self.decision is None else convert.decision_view(self.decision)
        return {
            "job_id": self.job_id,
            "target": self.target,
            "model": self.model,
            "decision": None if decision is None else decision.model_dump(),
            "usage": {
                "tokens_input": job.usage.tokens_input,
                "tokens_output": job.usage.tokens_output,
                "tokens_input_cached": job.usage.tokens_input_cached,
                "source": convert.USAGE_SOURCES[job.usage_source],
            },
            "cost": {
                "estimated_nanousd": job.estimated_cost_nanousd,
                "charged_nanousd": charged,
                "charged_usd": None if charged is None else usd_view(charged),
                "price_version": job.price_version or None,
            },
        }


def _printable(value: str) -> str:
    """Return a value that fits into a header whatever another service put in it."""
    return "".join(character for character in value if " " <= character <= "~")
