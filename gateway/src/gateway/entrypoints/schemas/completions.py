"""Completions of a text, as the OpenAI API had them before chats.

What would change the answer and is not supported is refused.
"""

from __future__ import annotations

from gateway.entrypoints.schemas.base import only
from gateway.entrypoints.schemas.sampling import SamplingBody
from gateway.entrypoints.schemas.texts import OneText


class CompletionBody(SamplingBody):
    """A request to continue a text. `model` may be `auto`."""

    prompt: OneText
    suffix: only(None, "") = None  # type: ignore[valid-type]
    echo: only(None, False) = None  # type: ignore[valid-type]
    best_of: only(None, 1) = None  # type: ignore[valid-type]
    logprobs: only(None) = None  # type: ignore[valid-type]
