"""The cloud of a stack: a llama.cpp server on this machine, in Yotta's place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weir_local.yotta import CONTEXT_TOKENS, SLOTS

YOTTA = "yotta"
"""The name of its process, and of the target."""
MODULE = "weir_local.yotta"
ADDRESS_AND_KEY = frozenset({"YOTTA_URL", "YOTTA_API_KEY", "YOTTA_API_KEY_FILE"})


@dataclass(frozen=True, slots=True)
class Cloud:
    """What the server and its one client, compute-router, are told."""

    address: str
    """host:port"""
    api_key_file: Path

    @property
    def url(self) -> str:
        """The base URL, without `/v1`."""
        return f"http://{self.address}"

    @property
    def ready_address(self) -> str:
        """Where the server says whether it has loaded its model."""
        return f"{self.url}/health"

    def server_environment(self) -> dict[str, str]:
        """Return the settings of the server."""
        return {
            "YOTTA_ADDRESS": self.address,
            "YOTTA_API_KEY_FILE": str(self.api_key_file),
            # Threads that spin while they wait take the cores from everybody else.
            "GOMP_SPINCOUNT": "0",
        }

    def router_environment(self) -> dict[str, str]:
        """Return the settings of compute-router. It asks the server itself for its models."""
        return {
            "YOTTA_URL": self.url,
            "YOTTA_API_KEY_FILE": str(self.api_key_file),
            "YOTTA_OPERATIONS": "chat,completion",
            "YOTTA_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
            # More than it has slots: it lets some wait, but none so long that we give up on it.
            "YOTTA_SLOTS": str(4 * SLOTS),
        }


def settings_of_cloud(settings: Mapping[str, str]) -> dict[str, str]:
    """Return those of the settings that are about Yotta; empty ones say nothing."""
    found = {name: value for name, value in settings.items() if name.startswith("YOTTA_") and value}
    if file := found.get("YOTTA_API_KEY_FILE"):
        # Services run in another directory.
        found["YOTTA_API_KEY_FILE"] = str(Path(file).absolute())
    return found
