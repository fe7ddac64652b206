"""Answer one prompt."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from gpu_worker.domain.errors import ModelNotServed
from gpu_worker.domain.generation import Accepted, Ended, GenerationEvent, Started
from gpu_worker.domain.model import ServedModel
from gpu_worker.domain.pace import Pace
from gpu_worker.domain.prompt import Prompt
from gpu_worker.usecases.generation_record import GenerationRecord
from gpu_worker.usecases.ports import Engine, Measurements
from gpu_worker.usecases.slots import Slots
from service_kit.clock import Clock


@dataclass(slots=True)
class Generate:
    """Runs prompts on the engine, and learns how fast it is."""

    engine: Engine
    slots: Slots
    clock: Clock
    measurements: Measurements
    worker_id: str
    model: ServedModel
    pace: Pace = field(default_factory=Pace)

    async def __call__(self, prompt: Prompt) -> AsyncGenerator[GenerationEvent, None]:
        """Give `Started`, deltas and `Finished`. Closing the generator stops the engine.

        Raises:
            ModelNotServed: The prompt is for another model.
            WorkerBusy: No slot is free; nothing ran.
            WorkerDraining: The worker is stopping; nothing ran.
            PromptTooLong: It does not fit in the context; nothing ran.
            PromptRefused: The chat template can't take it; nothing ran.
            EngineFailed: The engine broke off.
        """
        record = GenerationRecord(prompt, self.clock, self.measurements)
        with record.kept():
            if prompt.model != self.model.name:
                raise ModelNotServed(prompt.model)
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
            finished = record.finish()
            self.pace = self.pace.after(*record.answering)
        # The slot is free before the caller hears of it: it may ask again at once.
        yield finished
