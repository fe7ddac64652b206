"""Who did it, as the audit trail names them."""

from __future__ import annotations

from service_kit.request_context import Caller


def actor_of(caller: Caller) -> str:
    """Return `user:` or `key:` and the id."""
    return f"key:{caller.key_id}" if caller.kind == "api_key" else f"user:{caller.user_id}"
