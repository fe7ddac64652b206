"""What a chat completion answers; for the OpenAPI document, for it is written without models."""

from __future__ import annotations

from typing import Literal

from gateway.entrypoints.schemas.base import View
from gateway.entrypoints.schemas.routing import DecisionView


class CompletionMessageView(View):
    role: Literal["assistant"]
    content: str
    refusal: None


class CompletionChoiceView(View):
    index: int
    message: CompletionMessageView
    logprobs: None
    finish_reason: Literal["stop", "length"]


class PromptTokensView(View):
    cached_tokens: int


class UsageView(View):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensView


class WeirUsageView(View):
    tokens_input: int
    tokens_output: int
    tokens_input_cached: int
    source: Literal["reported", "counted"] | None


class WeirCostView(View):
    estimated_nanousd: int
    charged_nanousd: int | None
    charged_usd: float | None
    price_version: str | None


class WeirView(View):
    """What the OpenAI API has no place for: where it ran, why, and what it cost."""

    job_id: str
    target: str
    model: str
    decision: DecisionView | None
    usage: WeirUsageView
    cost: WeirCostView


class CompletionView(View):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoiceView]
    usage: UsageView
    system_fingerprint: None
    weir: WeirView


class ModelTargetView(View):
    """A target that serves a model."""

    target: str
    available: bool
    context_tokens: int


class WeirModelView(View):
    targets: list[ModelTargetView]


class ModelView(View):
    """A model. `auto` lets the router choose."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    weir: WeirModelView


class ModelsView(View):
    object: Literal["list"]
    data: list[ModelView]
