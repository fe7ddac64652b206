"""Errors as clients see them."""

from __future__ import annotations

from gateway.entrypoints.schemas.base import View


class FieldErrorView(View):
    """What is wrong with one field."""

    field: str
    message: str
    type: str


class ProblemView(View):
    """An error outside /v1 (RFC 9457). `title` is one code for programs."""

    type: str
    title: str
    status: int
    detail: str
    metadata: dict[str, str]
    request_id: str
    errors: list[FieldErrorView] | None = None


class OpenAIErrorDetailView(View):
    """The inside of an error under /v1."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorView(View):
    """An error under /v1, as the OpenAI API has it."""

    error: OpenAIErrorDetailView
