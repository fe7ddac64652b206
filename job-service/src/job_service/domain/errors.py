"""Everything that can go wrong with a job, in words a client understands."""

from __future__ import annotations

from datetime import timedelta

from service_kit.errors import ErrorCode, ServiceError


class JobNotFound(ServiceError):
    code = ErrorCode.NOT_FOUND
    reason = "JOB_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} does not exist.", metadata={"job_id": job_id})


class JobNotFinished(ServiceError):
    code = ErrorCode.FAILED_PRECONDITION
    reason = "JOB_NOT_FINISHED"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} has not finished.", metadata={"job_id": job_id})


class JobNotRetryable(ServiceError):
    """The job is over, and running it again is out of the question.

    Args:
        job_id: The job.
        why: Ends the sentence "It can't be retried: ...".
    """

    code = ErrorCode.FAILED_PRECONDITION
    reason = "JOB_NOT_RETRYABLE"

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"Job {job_id} can't be retried: {why}.", metadata={"job_id": job_id})


class DeadLetterNotFound(ServiceError):
    """There is no such job in the project, or it is no dead letter (any more)."""

    code = ErrorCode.NOT_FOUND
    reason = "DEAD_LETTER_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no dead letter of job {job_id}.", metadata={"job_id": job_id})


class ReceiptNotFound(ServiceError):
    """The job ended before receipts were issued."""

    code = ErrorCode.NOT_FOUND
    reason = "RECEIPT_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} has no receipt.", metadata={"job_id": job_id})


class JobAlreadyFinished(ServiceError):
    code = ErrorCode.FAILED_PRECONDITION
    reason = "JOB_ALREADY_FINISHED"

    def __init__(self, job_id: str, state: str, *, is_dead_letter: bool = False) -> None:
        way_on = "; redrive it or purge it among the dead letters" if is_dead_letter else ""
        super().__init__(
            f"Job {job_id} is already {state}{way_on}.",
            metadata={"job_id": job_id, "state": state},
        )


class EventCursorInvalid(ServiceError):
    code = ErrorCode.INVALID_ARGUMENT
    reason = "EVENT_CURSOR_INVALID"

    def __init__(self) -> None:
        super().__init__("This was never a cursor of this job's events.")


class QueueFull(ServiceError):
    code = ErrorCode.RESOURCE_EXHAUSTED
    reason = "QUEUE_FULL"

    def __init__(self, project_id: str, cap: int) -> None:
        super().__init__(
            f"Project {project_id} has {cap} jobs waiting, and may not have more.",
            metadata={"project_id": project_id, "max_queued_jobs": str(cap)},
            retry_after=timedelta(seconds=10),
        )


class ModelNotFound(ServiceError):
    code = ErrorCode.NOT_FOUND
    reason = "MODEL_NOT_FOUND"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"No target serves the model {model}; auto lets Weir choose.", metadata={"model": model}
        )


class OperationNotServed(ServiceError):
    code = ErrorCode.INVALID_ARGUMENT
    reason = "OPERATION_NOT_SERVED"

    def __init__(self, operation: str, model: str) -> None:
        super().__init__(
            f"No target does {operation} with the model {model}.",
            metadata={"operation": operation, "model": model},
        )


class IdempotencyKeyReused(ServiceError):
    code = ErrorCode.INVALID_ARGUMENT
    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used before, with another request; use a new key."
        )


class IdempotencyKeyInFlight(ServiceError):
    code = ErrorCode.ABORTED
    reason = "IDEMPOTENCY_KEY_IN_FLIGHT"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            "A request with this idempotency key is still running.",
            metadata={"job_id": job_id},
            retry_after=timedelta(seconds=1),
        )


class JobFailed(ServiceError):
    """An interactive job that ended without an answer, as its caller learns it.

    Args:
        job_id: The job.
        failure_reason: The job's own reason; it becomes the reason of the error.
        message: One sentence, already safe to show.
    """

    def __init__(self, job_id: str, failure_reason: str, message: str) -> None:
        super().__init__(message, metadata={"job_id": job_id})
        self.reason = failure_reason
        self.code = _CODES.get(failure_reason, ErrorCode.UNAVAILABLE)


_CODES = {
    "JOB_CANCELLED": ErrorCode.ABORTED,
    "BUDGET_EXCEEDED": ErrorCode.RESOURCE_EXHAUSTED,
    "NO_BUDGET": ErrorCode.RESOURCE_EXHAUSTED,
    "MODEL_NOT_FOUND": ErrorCode.NOT_FOUND,
    "MODEL_NOT_SERVED": ErrorCode.NOT_FOUND,
    "PROMPT_TOO_LONG": ErrorCode.INVALID_ARGUMENT,
    "OPERATION_NOT_SERVED": ErrorCode.INVALID_ARGUMENT,
    "INVALID_ARGUMENT": ErrorCode.INVALID_ARGUMENT,
}
