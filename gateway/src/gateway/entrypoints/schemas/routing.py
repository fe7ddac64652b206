"""Where a prompt goes, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.entrypoints.schemas.base import RequestBody, View

Model = Annotated[str, Field(min_length=1, max_length=200)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000)]


Residency = Literal["any", "local_only"]
"""`local_only`: the prompt leaves our own hardware under no circumstances."""


class RouteBody(RequestBody):
    """A prompt for which to decide without running it."""

    prompt: Annotated[str, Field(min_length=1)]
    context: str = ""
    model: Model = "auto"
    max_tokens: MaxTokens | None = None
    residency: Residency = "any"


class ComplexityView(View):
    """The score of a prompt and its parts."""

    score: int
    threshold: int
    words: int
    context_characters: int
    keywords: list[str]


class AlternativeView(View):
    """A target that was not chosen."""

    target: str
    eligible: bool
    reason: str
    estimated_cost: float
    estimated_cost_nanousd: int


class DecisionView(View):
    """A decision and how it came about."""

    target: str
    model: str
    reason: str
    complexity: ComplexityView
    explanation: list[str]
    alternatives: list[AlternativeView]
    estimated_cost: float
    estimated_cost_nanousd: int
