"""Places where prompts run, as a decision sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeGuard

from compute_router.domain.operation import Operation

LOCAL: Final = "local"
YOTTA: Final = "yotta"
MAX_MODELS: Final = 100
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a target serves it."""

    name: str
    context_tokens: int
    default_max_tokens: int
    template_overhead_tokens: int = 0
    """Added to every prompt, at most."""
    message_overhead_tokens: int = 0
    """Added for each message, at most."""
    digest: str = ""
    """SHA-256 of the model file, hexadecimal; empty where it is not known."""
    operations: tuple[Operation, ...] = (Operation.CHAT,)


@dataclass(frozen=True, slots=True)
class TargetState:
    """What one target offers now."""

    name: str
    available: bool
    paid: bool
    """A dispatched prompt may cost money whether or not it answers."""
    own: bool
    """Hardware of our own: allowed for `local_only`."""
    models: tuple[Model, ...]
    slots_total: int
    slots_busy: int
    status: str
    """One sentence for a person."""

    def find_model(self, name: str) -> Model | None:
        return next((model for model in self.models if model.name == name), None)


def is_model_name(value: object) -> TypeGuard[str]:
    """Tell whether a value can be the name of a model."""
    return isinstance(value, str) and _MODEL_NAME.fullmatch(value) is not None
