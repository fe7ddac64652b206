"""Asks a service over HTTP whether it is ready for work."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a service said about itself."""

    ready: bool
    reason: str


def ask(base_url: str, seconds: float = 2.0) -> Readiness:
    """Return what `/health/ready` answers; not ready if nothing answers."""
    try:
        status, body = _get(f"{base_url}/health/ready", seconds)
    except (OSError, http.client.HTTPException) as error:
        return Readiness(False, f"no answer ({type(error).__name__})")
    if status == http.HTTPStatus.OK:
        return Readiness(True, "ready")
    return Readiness(False, _failing_checks(body) or f"HTTP {status}")


def serves_a_model(gateway_url: str, seconds: float = 2.0) -> bool:
    """Tell whether the gateway says that a prompt could run somewhere now."""
    try:
        _, body = _get(f"{gateway_url}/health", seconds)
        return json.loads(body)["checks"]["models"]["ok"] is True
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False


def status_of(url: str, seconds: float = 2.0) -> str:
    """Return `HTTP 200` or whatever the address answers."""
    try:
        return f"HTTP {_get(url, seconds)[0]}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({type(error).__name__})"


def _get(url: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body. On loopback no proxy that the environment names has a part in it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _failing_checks(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        failing = [f"{name}: {each['message']}" for name, each in checks.items() if not each["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return ", ".join(failing)
