"""Everything that can go wrong with a prompt on a worker."""

from datetime import timedelta

from service_kit.errors import ErrorCode, ServiceError


class PromptTooLong(ServiceError):
    """The prompt does not fit into the model's context. A size of 0 is one that is not known."""

    code = ErrorCode.INVALID_ARGUMENT
    reason = "PROMPT_TOO_LONG"

    def __init__(self, tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"The prompt has {tokens} tokens; the model's context holds {context_tokens}."
            if tokens and context_tokens
            else "The prompt is longer than the model's context.",
            metadata={"tokens": str(tokens), "context_tokens": str(context_tokens)},
        )


class PromptRefused(ServiceError):
    """The model's chat template or the engine can't take these messages or parameters."""

    code = ErrorCode.INVALID_ARGUMENT
    reason = "PROMPT_REFUSED"

    def __init__(self, message: str = "The model can't take these messages.") -> None:
        super().__init__(message)


class ModelNotServed(ServiceError):
    code = ErrorCode.NOT_FOUND
    reason = "MODEL_NOT_SERVED"

    def __init__(self, model: str) -> None:
        super().__init__(f"This worker does not serve {model}.", metadata={"model": model})


class OperationNotServed(ServiceError):
    code = ErrorCode.INVALID_ARGUMENT
    reason = "OPERATION_NOT_SERVED"

    def __init__(self, operation: str, model: str) -> None:
        super().__init__(
            f"{model} is not served for the operation {operation} here.",
            metadata={"operation": operation, "model": model},
        )


class WorkerBusy(ServiceError):
    """No slot is free; nothing ran."""

    code = ErrorCode.RESOURCE_EXHAUSTED
    reason = "WORKER_BUSY"

    def __init__(self, slots: int) -> None:
        super().__init__(
            "Every slot of this worker is taken.",
            metadata={"slots_total": str(slots)},
            retry_after=timedelta(seconds=1),
        )


class WorkerDraining(ServiceError):
    """The worker is stopping; nothing ran."""

    code = ErrorCode.UNAVAILABLE
    reason = "WORKER_DRAINING"

    def __init__(self) -> None:
        super().__init__("This worker is stopping.", retry_after=timedelta(seconds=1))


class EngineFailed(ServiceError):
    """The engine broke off. What it said is in our log only."""

    code = ErrorCode.INTERNAL
    reason = "ENGINE_FAILED"

    def __init__(self) -> None:
        super().__init__("The engine failed to answer this prompt.")
