"""Models for clients of the OpenAI API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Path
from weir.router.v1 import router_service_pb2 as router_pb

from gateway.entrypoints import convert
from gateway.entrypoints.dependencies import SECURITY, CurrentCaller, EdgeParts, HeaderProject
from gateway.entrypoints.schemas.models import (
    ModelsView,
    ModelTargetView,
    ModelView,
    WeirModelView,
)
from service_kit.errors import ErrorCode, ServiceError

router = APIRouter(prefix="/v1/models", tags=["openai"], dependencies=list(SECURITY))

AUTO: Final = "auto"


class ModelNotFound(ServiceError):
    """No target serves this model."""

    code = ErrorCode.NOT_FOUND
    reason = "MODEL_NOT_FOUND"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model} does not exist.", metadata={"model": model})


@router.get("")
async def list_models(
    edge: EdgeParts, caller: CurrentCaller, project_id: HeaderProject
) -> ModelsView:
    """List the models that can be asked for, `auto` first."""
    await edge.access.require(caller, project_id, "models:read")
    models = _models(await edge.router.list_targets())
    return ModelsView(object="list", data=models)


@router.get("/{model:path}")
async def get_model(
    edge: EdgeParts,
    caller: CurrentCaller,
    project_id: HeaderProject,
    model: Annotated[str, Path(max_length=200)],
) -> ModelView:
    """Return one model."""
    await edge.access.require(caller, project_id, "models:read")
    for found in _models(await edge.router.list_targets()):
        if found.id == model:
            return found
    raise ModelNotFound(model)


def _models(targets: Sequence[router_pb.Target]) -> list[ModelView]:
    serving: dict[str, list[ModelTargetView]] = {AUTO: []}
    for target in targets:
        for model in target.models:
            serving.setdefault(model.model, []).append(
                ModelTargetView(
                    target=target.target,
                    available=target.available,
                    context_tokens=model.context_tokens,
                    operations=convert.operations_of(model),
                )
            )
    return [
        ModelView(
            id=model,
            object="model",
            # Nobody knows when a model was made, and clients want a number.
            created=0,
            owned_by=served[0].target if served else "weir",
            weir=WeirModelView(targets=served),
        )
        for model, served in serving.items()
    ]
