"""The model that a worker serves, as the rest of the system needs to know it."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_worker.domain.prompt import Operation


@dataclass(frozen=True, slots=True)
class TemplateOverhead:
    """Upper bounds of the tokens that the chat template adds."""

    prompt_tokens: int
    """To every prompt; a default system prompt counts in."""
    message_tokens: int
    """For each message."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    name: str
    context_tokens: int
    """Prompt and answer of one slot together."""
    default_max_tokens: int
    overhead: TemplateOverhead
    digest: str
    """SHA-256 of the model file, hexadecimal."""
    operations: tuple[Operation, ...]
    """What may be asked of it."""
