"""A provider that speaks OpenAI's API, as a target: every prompt that reaches it may be paid."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from compute_router.adapters.openai_http import Answer, Broken, NotSent, OpenAiHttp
from compute_router.adapters.openai_models import OpenAiModels
from compute_router.adapters.openai_refusals import (
    KEY_REFUSED,
    MAX_ERROR_BYTES,
    Refusal,
    retry_after_of,
)
from compute_router.adapters.openai_stream import streamed_events
from compute_router.adapters.openai_words import (
    PATHS,
    BadAnswer,
    body_of,
    embeddings_of,
    object_of,
    response_id_of,
    usage_of,
)
from compute_router.domain.errors import ExecutionFailed, NoCapacity, TargetAway
from compute_router.domain.execution import (
    Finished,
    FinishReason,
    Started,
    TargetEvent,
    Task,
)
from compute_router.domain.operation import Operation
from compute_router.domain.target import Model, TargetState
from service_kit.clock import Clock
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

# A vector of 4,096 numbers written out in full.
_BYTES_PER_VECTOR: Final = 96 * 1024
_BYTES_AROUND_VECTORS: Final = 64 * 1024
# We can't see a provider's template: what the common ones add, and some room.
_TEMPLATE_OVERHEAD_TOKENS: Final = 32
_MESSAGE_OVERHEAD_TOKENS: Final = 8


@dataclass(frozen=True, slots=True)
class ProviderOffer:
    """What a provider is used for."""

    name: str
    context_tokens: int
    default_max_tokens: int
    operations: tuple[Operation, ...]
    slots: int
    """Prompts at once from this router."""


class OpenAiTarget:
    """Implements `Target` over HTTP.

    What the provider refuses at the door ran nothing. Once it has the prompt, whatever goes
    wrong is `ExecutionFailed`: it may have been paid.
    """

    def __init__(
        self, offer: ProviderOffer, http: OpenAiHttp, models: OpenAiModels, clock: Clock
    ) -> None:
        self._offer = offer
        self._http = http
        self._models = models
        self._clock = clock
        self._running = 0

    @property
    def name(self) -> str:
        return self._offer.name

    @property
    def paid(self) -> bool:
        return True

    def state(self) -> TargetState:
        offer, names = self._offer, self._models.names
        return TargetState(
            name=offer.name,
            available=bool(names),
            paid=True,
            own=False,
            models=tuple(_model(name, offer) for name in names),
            slots_total=offer.slots,
            slots_busy=self._running,
            status=self._status(),
        )

    async def execute(self, task: Task) -> AsyncGenerator[TargetEvent, None]:
        if self._running >= self._offer.slots:
            raise NoCapacity(task.model)
        self._running += 1
        finished: Finished | None = None
        try:
            async with aclosing(self._run(task)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                        break
                    yield event
        except NotSent as error:
            raise TargetAway(task.model, f"{self.name}: {error}") from error
        except (Broken, BadAnswer) as error:
            raise self._failed(task, error.cause) from error
        finally:
            self._running -= 1
        # The slot counts as free before the caller hears of it: it may ask again at once.
        if finished is None:
            raise self._failed(task, "ENDED_EARLY")
        yield finished

    async def _run(self, task: Task) -> AsyncGenerator[TargetEvent, None]:
        operation = task.job.operation
        body = body_of(task, self._offer.default_max_tokens)
        asked = self._http.asked("POST", PATHS[operation], body, task.client_task_id)
        async with asked as answer:
            if answer.status != 200:
                raise await self._refusal(task, answer)
            if operation is not Operation.EMBEDDING and answer.media_type != "text/event-stream":
                raise BadAnswer("NO_STREAM")
            yield Started(self.name, task.model)
            answered = (
                self._embeddings(task, answer)
                if operation is Operation.EMBEDDING
                else streamed_events(answer, operation)
            )
            async with aclosing(answered) as events:
                async for event in events:
                    yield event

    async def _embeddings(self, task: Task, answer: Answer) -> AsyncGenerator[TargetEvent, None]:
        count = len(task.job.inputs)
        body = object_of(await answer.read(_BYTES_AROUND_VECTORS + count * _BYTES_PER_VECTOR))
        for embedding in embeddings_of(body, count):
            yield embedding
        usage = usage_of(body.get("usage"), has_output=False)
        yield Finished(FinishReason.STOP, usage, provider_response_id=response_id_of(body))

    async def _refusal(self, task: Task, answer: Answer) -> ServiceError:
        body = bytearray()
        if 400 <= answer.status < 500 or answer.status == 503:
            body = await answer.beginning(MAX_ERROR_BYTES)
        if answer.status in KEY_REFUSED:
            log.error("provider.key_refused", target=self.name, status=answer.status)
        retry_after = retry_after_of(answer.headers, self._clock.now())
        refusal = Refusal(answer.status, body, retry_after)
        return refusal.error(self.name, task.model, task.job.operation)

    def _failed(self, task: Task, cause: str) -> ExecutionFailed:
        log.warning(
            "provider.failed", target=self.name, cause=cause, client_task_id=task.client_task_id
        )
        return ExecutionFailed(self.name, cause)

    def _status(self) -> str:
        names, problem = self._models.names, self._models.problem
        if not names:
            return f"its models are not known: {problem}" if problem else "it serves no model"
        status = (
            f"{len(names)} {'model' if len(names) == 1 else 'models'}, "
            f"{self._running} of {self._offer.slots} slots busy"
        )
        return f"{status}; its models could not be asked: {problem}" if problem else status


def _model(name: str, offer: ProviderOffer) -> Model:
    return Model(
        name,
        context_tokens=offer.context_tokens,
        default_max_tokens=offer.default_max_tokens,
        template_overhead_tokens=_TEMPLATE_OVERHEAD_TOKENS,
        message_overhead_tokens=_MESSAGE_OVERHEAD_TOKENS,
        operations=offer.operations,
    )
