"""Asks a service over HTTP whether it is ready for work."""

from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a service said about itself."""

    ready: bool
    reason: str


def ask(base_url: str, seconds: float = 2.0) -> Readiness:
    """Return what `/health/ready` answers; not ready if nothing answers."""
    try:
        # Loopback: no proxy that the environment names has a part in it.
        with httpx.Client(trust_env=False, timeout=seconds) as client:
            response = client.get(f"{base_url}/health/ready")
    except httpx.HTTPError as error:
        return Readiness(False, f"no answer ({type(error).__name__})")
    if response.status_code == httpx.codes.OK:
        return Readiness(True, "ready")
    return Readiness(False, _failing_checks(response))


def _failing_checks(response: httpx.Response) -> str:
    try:
        checks = response.json()["checks"]
        failing = [f"{name}: {each['message']}" for name, each in checks.items() if not each["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        failing = []
    return ", ".join(failing) or f"HTTP {response.status_code}"


def status_of(url: str, seconds: float = 2.0) -> str:
    """Return `HTTP 200` or whatever the address answers."""
    try:
        with httpx.Client(trust_env=False, timeout=seconds) as client:
            return f"HTTP {client.get(url).status_code}"
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"
