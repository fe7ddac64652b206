"""How the audit trail names whoever acts."""

from service_kit.request_context import Caller


def actor(caller: Caller) -> str:
    """Return `key:<id>` for a program and `user:<id>` for a person."""
    return f"key:{caller.key_id}" if caller.kind == "api_key" else f"user:{caller.user_id}"
