"""What the routes of the OpenAI API answer; for its document, for they write without models."""

from __future__ import annotations

from typing import Literal

from gateway.entrypoints.schemas.base import View
from gateway.entrypoints.schemas.routing import DecisionView


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


class ChatMessageView(View):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoiceView(View):
    index: int
    message: ChatMessageView
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatCompletionView(View):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoiceView]
    usage: UsageView
    system_fingerprint: None
    weir: WeirView


class CompletionChoiceView(View):
    index: int
    text: str
    logprobs: None
    finish_reason: Literal["stop", "length"]


class CompletionView(View):
    """A text, continued."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoiceView]
    usage: UsageView
    system_fingerprint: None
    weir: WeirView


class EmbeddingView(View):
    """A vector: numbers, or base64 of little-endian 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsageView(View):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsView(View):
    """The vectors of all inputs, in their order."""

    object: Literal["list"]
    data: list[EmbeddingView]
    model: str
    usage: EmbeddingsUsageView
    weir: WeirView
