"""The gateway itself."""

from __future__ import annotations

from typing import Literal

from gateway.entrypoints.schemas.base import View


class CheckView(View):
    """The latest result of one check, and how old it is."""

    ok: bool
    message: str
    age_seconds: float


class HealthView(View):
    """How the gateway and what it calls are doing."""

    service: str
    status: Literal["healthy", "degraded", "unready"]
    version: str
    checks: dict[str, CheckView]


class RootView(View):
    """What answers here, and what it can do."""

    service: str
    version: str
    status: Literal["healthy", "degraded", "unready"]
    features: list[str]
    documentation: str


class LiveView(View):
    """The process runs."""

    service: str
    status: Literal["live"]


class ReadyView(View):
    """Whether requests should come here."""

    service: str
    status: Literal["ready", "unready"]
    checks: dict[str, CheckView]
