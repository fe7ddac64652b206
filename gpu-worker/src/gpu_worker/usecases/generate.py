"""Work on one prompt."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from gpu_worker.domain.errors import ModelNotServed, OperationNotServed
from gpu_worker.domain.generation import Accepted, Ended, Finished, GenerationEvent, Started
from gpu_worker.domain.model import ServedModel
from gpu_worker.domain.pace import Pace
from gpu_worker.domain.prompt import Prompt
from gpu_worker.domain.result_statement import ResultStatement, prompt_digest
from gpu_worker.usecases.generation_record import GenerationRecord
from gpu_worker.usecases.ports import Engine, Measurements
from gpu_worker.usecases.slots import Slots
from service_kit.clock import Clock
from service_kit.signatures import SigningKey


@dataclass(slots=True)
class Generate:
    """Runs prompts on the engine, signs the results, and learns how fast it is."""

    engine: Engine
    slots: Slots
    clock: Clock
    measurements: Measurements
    worker_id: str
    model: ServedModel
    signing_key: SigningKey
    pace: Pace = field(default_factory=Pace)

    async def __call__(self, prompt: Prompt) -> AsyncGenerator[GenerationEvent, None]:
        """Give `Started`, deltas (or embeddings) and `Finished`.

        Closing the generator stops the engine.

        Raises:
            ModelNotServed: The prompt is for another model.
            OperationNotServed: The model is not served for that here; nothing ran.
            WorkerBusy: No slot is free; nothing ran.
            WorkerDraining: The worker is stopping; nothing ran.
            PromptTooLong: It does not fit in the context; nothing ran.
            PromptRefused: The chat template or the engine can't take it; nothing ran.
            EngineFailed: The engine broke off.
        """
        record = GenerationRecord(prompt, self.clock, self.measurements)
        with record.kept():
            if prompt.model != self.model.name:
                raise ModelNotServed(prompt.model)
            if prompt.operation not in self.model.operations:
                raise OperationNotServed(prompt.operation, self.model.name)
            with self.slots.taken():
                async with aclosing(self.engine.generate(prompt)) as events:
                    async for event in events:
                        if isinstance(event, Ended):
                            record.end(event)
                        elif isinstance(event, Accepted):
                            yield Started(self.worker_id, self.model.name, self.model.digest)
                        else:
                            record.count(event)
                            yield event
            finished = self._finished(prompt, record)
            self.pace = self.pace.after(*record.answering)
        # The slot is free before the caller hears of it: it may ask again at once.
        yield finished

    def _finished(self, prompt: Prompt, record: GenerationRecord) -> Finished:
        """Return the end of the stream, with what this worker vouches for."""
        ended, finished_at = record.ended, self.clock.now()
        statement = ResultStatement(
            job_id=prompt.job_id,
            attempt=prompt.attempt,
            worker_id=self.worker_id,
            operation=prompt.operation,
            model=self.model.name,
            model_digest=self.model.digest,
            prompt_digest=prompt_digest(prompt),
            output_digest=record.output.hexadecimal,
            tokens_input=ended.usage.tokens_input,
            tokens_output=ended.usage.tokens_output,
            finish_reason=ended.finish_reason,
            started_at=record.started_at,
            finished_at=finished_at,
        )
        return Finished(
            ended.finish_reason,
            ended.usage,
            record.started_at,
            finished_at,
            statement.signed_by(self.signing_key),
        )
