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


def address(base_url: str) -> str:
    """Return where a service says whether it is ready."""
    return f"{base_url}/health/ready"


def ask(base_url: str, seconds: float = 2.0) -> Readiness:
    """Return what a service answers about itself; not ready if nothing answers."""
    return ask_at(address(base_url), seconds)


def ask_at(url: str, seconds: float = 2.0) -> Readiness:
    """Return what this address answers; ready if it is 200."""
    try:
        status, body = _get(url, seconds)
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


def workers_of(router_url: str, seconds: float = 2.0) -> int:
    """Return how many workers a router knows of; 0 if it does not answer."""
    try:
        _, body = _get(f"{router_url}/metrics", seconds)
    except (OSError, http.client.HTTPException):
        return 0
    lines = body.decode(errors="replace").splitlines()
    counts = [line.split()[1] for line in lines if line.startswith("router_workers ")]
    return int(float(counts[0])) if counts else 0


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
