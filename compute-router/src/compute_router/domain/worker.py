"""Workers of the local target, and which of them is asked first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from compute_router.domain.operation import Operation
from compute_router.domain.target import MAX_MODELS, Model, is_model_name
from service_kit.errors import InvalidArgument

MAX_SLOTS: Final = 10_000
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it announced itself.

    Raises:
        InvalidArgument: It can't be like that.
    """

    worker_id: str
    address: str
    models: tuple[Model, ...]
    slots_total: int
    slots_busy: int = 0
    device: str = "cpu"
    draining: bool = False
    tokens_per_second: float = 0.0

    def __post_init__(self) -> None:
        match = _ADDRESS.fullmatch(self.address)
        if match is None or not 0 < int(match[1]) < 65536:
            raise InvalidArgument("worker.address", "The address must be host:port.")
        if not 1 <= self.slots_total <= MAX_SLOTS or self.slots_busy < 0:
            raise InvalidArgument("worker.slots_total", f"A worker has 1 to {MAX_SLOTS} slots.")
        if not 1 <= len(self.models) <= MAX_MODELS:
            raise InvalidArgument("worker.models", f"A worker serves 1 to {MAX_MODELS} models.")
        if not all(is_model_name(model.name) and model.context_tokens > 0 for model in self.models):
            raise InvalidArgument("worker.models", "A model needs a name and a context.")

    def find_model(self, name: str) -> Model | None:
        return next((model for model in self.models if model.name == name), None)

    def does(self, operation: Operation, model: str) -> bool:
        """Return whether it does that with the model."""
        served = self.find_model(model)
        return served is not None and operation in served.operations


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """A worker and how full it is, as far as this router can tell.

    What the worker reported is old by up to a beat; what this router has sent
    there is exact. So the report counts with what came and went since.
    """

    worker: Worker
    running_here: int
    running_here_at_report: int

    @property
    def slots_busy(self) -> int:
        since = self.running_here - self.running_here_at_report
        reported = self.worker.slots_busy + since
        return min(self.worker.slots_total, max(self.running_here, reported))

    @property
    def is_certainly_full(self) -> bool:
        """True if what this router runs there fills it, whatever others do."""
        return self.running_here >= self.worker.slots_total

    @property
    def fraction(self) -> float:
        return self.slots_busy / self.worker.slots_total


def in_order_of_trial(
    loads: list[WorkerLoad],
    model: str,
    tokens_input_bound: int,
    operation: Operation = Operation.CHAT,
) -> list[WorkerLoad]:
    """Return the workers that may run a prompt: those it surely fits first, then the emptier."""

    def rank(load: WorkerLoad) -> tuple[bool, float, int]:
        served = load.worker.find_model(model)
        fits = served is not None and tokens_input_bound <= served.context_tokens
        return not fits, load.fraction, load.running_here

    fit = [
        load
        for load in loads
        if load.worker.does(operation, model)
        and not load.worker.draining
        and not load.is_certainly_full
    ]
    return sorted(fit, key=rank)


def merged_models(workers: list[Worker]) -> tuple[Model, ...]:
    """Return what the workers serve together, in order of name.

    Where they differ, limits are the widest and overheads the largest, so that
    bounds made of them hold for each; a digest they do not share is left out. An
    operation counts if one of them does it.
    """
    found: dict[str, Model] = {}
    for worker in workers:
        for model in worker.models:
            known = found.get(model.name)
            found[model.name] = model if known is None else _merged(known, model)
    return tuple(found[name] for name in sorted(found))


def _merged(one: Model, other: Model) -> Model:
    return Model(
        name=one.name,
        context_tokens=max(one.context_tokens, other.context_tokens),
        default_max_tokens=max(one.default_max_tokens, other.default_max_tokens),
        template_overhead_tokens=max(one.template_overhead_tokens, other.template_overhead_tokens),
        message_overhead_tokens=max(one.message_overhead_tokens, other.message_overhead_tokens),
        digest=one.digest if one.digest == other.digest else "",
        operations=tuple(o for o in Operation if o in one.operations or o in other.operations),
    )
