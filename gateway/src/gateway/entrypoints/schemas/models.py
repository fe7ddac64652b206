"""Models that can be asked for."""

from __future__ import annotations

from typing import Literal

from gateway.entrypoints.schemas.base import View

OperationName = Literal["chat", "completion", "embedding"]


class ModelTargetView(View):
    """A target that serves a model."""

    target: str
    available: bool
    context_tokens: int
    operations: list[OperationName]
    """What it can be asked for there."""


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
