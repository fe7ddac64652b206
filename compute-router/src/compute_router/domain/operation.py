"""What is asked of a model."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    CHAT = "chat"
    """Answer a conversation, through the model's chat template."""
    COMPLETION = "completion"
    """Continue one text, without a template."""
    EMBEDDING = "embedding"
    """Turn texts into vectors."""
