"""How a page in a browser, which can't set headers of a socket, says who it is."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import QueryParams
from starlette.types import Scope

from gateway.entrypoints.errors import credential_in_url, subprotocol_missing

PROTOCOL: Final = "weir.v1"
_PREFIX: Final = "weir.bearer."
_IN_URL: Final = frozenset(
    {"token", "access_token", "authorization", "api_key", "apikey", "key", "jwt", "x-api-key"}
)


def offered_credentials(scope: Scope) -> list[str]:
    """Return the credentials among the subprotocols of a socket, as `Authorization` has them.

    Raises:
        EdgeError: `SUBPROTOCOL_MISSING`: nothing else is offered, and a credential is never
            sent back as the protocol that was chosen.
    """
    offered = scope.get("subprotocols", ())
    found = [f"Bearer {one[len(_PREFIX) :]}" for one in offered if one.startswith(_PREFIX)]
    if found and PROTOCOL not in offered:
        raise subprotocol_missing()
    return found


def refuse_credentials_in_url(query: QueryParams) -> None:
    """Refuse an address that carries a credential, good or bad.

    Raises:
        EdgeError: `CREDENTIAL_IN_URL`.
    """
    for name in query:
        if name.lower() in _IN_URL:
            raise credential_in_url(name.lower())
