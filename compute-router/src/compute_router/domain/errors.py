"""Everything that can go wrong between a job and the target that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from service_kit.errors import ErrorCode, ServiceError

PROMPT_TOO_LONG: Final = "PROMPT_TOO_LONG"


class RanNothing(ServiceError):
    """A target provably ran nothing, so that nothing was paid: another one may be tried."""


class NoCapacity(RanNothing):
    """Everything that could run the job is full or away for the moment."""

    code = ErrorCode.RESOURCE_EXHAUSTED
    reason = "NO_CAPACITY"

    def __init__(self, model: str, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(
            "Nothing has room for this prompt at the moment.",
            metadata={"model": model},
            retry_after=retry_after,
        )


class ModelNotServed(RanNothing):
    code = ErrorCode.NOT_FOUND
    reason = "MODEL_NOT_SERVED"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"No target serves the model {model}; auto lets Weir choose.", metadata={"model": model}
        )


class OperationNotServed(RanNothing):
    """The model is there, and can't do what is asked of it."""

    code = ErrorCode.INVALID_ARGUMENT
    reason = "OPERATION_NOT_SERVED"

    def __init__(self, model: str, operation: str) -> None:
        super().__init__(
            f"No target does the operation {operation} with the model {model}.",
            metadata={"model": model, "operation": operation},
        )


class AskedToWait(NoCapacity):
    """A target wants to be left alone for a while (429); that says nothing against its health."""

    def __init__(self, model: str, wait: timedelta) -> None:
        super().__init__(model, retry_after=wait)
        self.wait = wait


class TargetUnavailable(RanNothing):
    """The targets that serve the model are away, or the request rules them out."""

    code = ErrorCode.UNAVAILABLE
    reason = "TARGET_UNAVAILABLE"

    def __init__(self, model: str, why: str, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(
            f"No target may run {model} now: {why}.",
            metadata={"model": model},
            retry_after=retry_after,
        )


class TargetAway(TargetUnavailable):
    """A target can't be reached, or says that it can't serve for the moment.

    Args:
        wait: How long it wants to be left alone, if it said so.
    """

    def __init__(self, model: str, why: str, wait: timedelta | None = None) -> None:
        super().__init__(model, why, wait or timedelta(seconds=1))
        self.wait = wait


class KeyRefused(TargetUnavailable):
    """A target does not accept our key, or our account: only an operator can change that.

    Args:
        wait: How long it is left alone, so that waiting jobs don't hammer at it.
    """

    def __init__(self, model: str, why: str, wait: timedelta) -> None:
        super().__init__(model, why, wait)
        self.wait = wait


class PromptRefused(RanNothing):
    """A target looked at the prompt and refused it: too long, or not to be understood.

    It carries the target's own reason, such as `PROMPT_TOO_LONG`.
    """

    code = ErrorCode.INVALID_ARGUMENT

    def __init__(self, reason: str, message: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message, metadata=metadata)
        self.reason = reason

    @property
    def holds_everywhere(self) -> bool:
        """Return whether no other target would take it: it is malformed, not merely too long."""
        return self.reason not in (PROMPT_TOO_LONG, OperationNotServed.reason)


class GoNotGiven(RanNothing):
    """The caller did not confirm that it recorded the dispatch: nothing was dispatched."""

    code = ErrorCode.ABORTED
    reason = "GO_NOT_GIVEN"

    def __init__(self, client_task_id: str) -> None:
        super().__init__(
            "The dispatch was not confirmed, so nothing ran.",
            metadata={"client_task_id": client_task_id},
        )


class WorkerLost(ServiceError):
    """The worker went away while it had the prompt. Another attempt may succeed at once."""

    code = ErrorCode.UNAVAILABLE
    reason = "WORKER_LOST"

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"The worker {worker_id} was lost while it ran the prompt.",
            metadata={"worker_id": worker_id},
        )


class ExecutionFailed(ServiceError):
    """A target had the prompt and failed."""

    code = ErrorCode.INTERNAL
    reason = "EXECUTION_FAILED"

    def __init__(self, target: str, cause: str) -> None:
        super().__init__(
            f"The target {target} failed while it ran the prompt.",
            metadata={"target": target, "cause": cause},
        )
        self.cause = cause


class ForeignWorkerId(ServiceError):
    """A worker announced a name that its certificate does not carry."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "FOREIGN_WORKER_ID"

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"The certificate is not that of worker {worker_id}.",
            metadata={"worker_id": worker_id},
        )
