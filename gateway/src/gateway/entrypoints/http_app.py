"""The HTTP application: routes, the errors they raise, and what every request passes."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from gateway.entrypoints import error_responses
from gateway.entrypoints.client_address import parse_networks
from gateway.entrypoints.edge import Edge
from gateway.entrypoints.middleware import AllowedHosts, BodyGuard, RequestScope
from gateway.entrypoints.routes import (
    auth,
    budgets,
    budgets_of_api_keys,
    budgets_of_teams,
    chat,
    completions,
    corrections,
    costs,
    dead_letters,
    embeddings,
    events,
    jobs,
    models,
    prices,
    projects,
    receipts,
    reports,
    routing,
    scheduler,
    status,
    teams,
)
from gateway.entrypoints.schemas.errors import OpenAIErrorView, ProblemView
from gateway.entrypoints.socket_metrics import SocketMetrics
from gateway.entrypoints.socket_scope import SocketScope
from gateway.settings import Settings
from service_kit.metrics import HttpMetrics

_ROUTERS: Final = (
    auth.router,
    projects.router,
    teams.router,
    costs.router,
    budgets.router,
    budgets_of_teams.router,
    budgets_of_api_keys.router,
    corrections.router,
    prices.router,
    reports.router,
    jobs.router,
    dead_letters.router,
    events.router,
    receipts.router,
    routing.router,
    chat.router,
    completions.router,
    embeddings.router,
    models.router,
    scheduler.router,
    status.router,
)

_EXPOSED_HEADERS: Final = (
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
    "X-Weir-Complexity",
    "X-Weir-Job-Id",
    "X-Weir-Reason",
    "X-Weir-Target",
)
# Smaller answers gain nothing; a higher level costs more than the network.
_GZIP_MIN_BYTES: Final = 2048
_GZIP_LEVEL: Final = 3


class Api(FastAPI):
    """The routes, and a document that says what they answer."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = _document(self)
        return self.openapi_schema


def routes() -> Api:
    """Return the routes and their error responses, without anything behind them."""
    app = Api(
        title="Weir",
        version=status.VERSION,
        summary="A self-hosted AI compute gateway.",
        description=(
            "One OpenAI-compatible address in front of a GPU you own and a cloud you rent. "
            "Amounts in US dollars are views; the exact ones end in `_nanousd`."
        ),
        redoc_url=None,
        redirect_slashes=False,
    )
    error_responses.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    return app


def create_app(settings: Settings, edge: Edge, registry: CollectorRegistry) -> Api:
    """Return the application that is served."""
    app = routes()
    app.state.edge = edge
    app.state.registry = registry
    # The one added last is outermost.
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_MIN_BYTES, compresslevel=_GZIP_LEVEL)
    app.add_middleware(BodyGuard, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=settings.cors_methods,
            allow_headers=("*",),
            allow_credentials=settings.cors_credentials,
            expose_headers=_EXPOSED_HEADERS,
        )
    app.add_middleware(AllowedHosts, allowed=settings.allowed_hosts)
    app.add_middleware(
        RequestScope,
        metrics=HttpMetrics(registry),
        trusted_proxies=parse_networks(settings.trusted_proxies),
        production=settings.environment == "production",
    )
    app.add_middleware(
        SocketScope,
        metrics=SocketMetrics(registry),
        trusted_proxies=parse_networks(settings.trusted_proxies),
    )
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemView, OpenAIErrorView):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    document["components"]["responses"] = {
        "Problem": _error(
            "The request was refused or failed.", "application/problem+json", "Problem"
        ),
        "OpenAIError": _error(
            "The request was refused or failed.", "application/json", "OpenAIError"
        ),
    }
    for path, operations in document["paths"].items():
        name = "OpenAIError" if error_responses.is_openai_path(path) else "Problem"
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["4XX"] = {"$ref": f"#/components/responses/{name}"}
            responses["5XX"] = {"$ref": f"#/components/responses/{name}"}
    return document


def _error(description: str, media_type: str, name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}View"}
    return {"description": description, "content": {media_type: {"schema": schema}}}
