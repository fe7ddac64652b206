"""Signs access tokens (RFC 9068) with Ed25519."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from auth_service.adapters.signing_keys import SigningKeyFiles
from auth_service.domain.api_key import ApiKey
from auth_service.domain.user import User
from auth_service.usecases.ports import IssuedToken
from service_kit.ids import new_id

EDGE_AUDIENCE: Final = "weir"
INTERNAL_AUDIENCE: Final = "weir-internal"
INTERNAL_TOKEN_LIFE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Ed25519TokenSigner:
    """See `ports.TokenSigner`."""

    keys: SigningKeyFiles
    issuer: str
    access_token_life: timedelta

    def access_token(self, user: User, session_id: str, now: datetime) -> IssuedToken:
        claims = {"aud": EDGE_AUDIENCE, "sid": session_id}
        return self._sign(user, claims, now, now + self.access_token_life)

    def internal_token(self, key: ApiKey, owner: User, now: datetime) -> IssuedToken:
        claims = {
            "aud": INTERNAL_AUDIENCE,
            "key_id": key.key_id,
            "project_id": key.project_id,
            "scope": " ".join(key.scopes),
        }
        ends = now + INTERNAL_TOKEN_LIFE
        return self._sign(owner, claims, now, min(ends, key.expires_at or ends))

    def _sign(
        self, user: User, claims: dict[str, Any], now: datetime, expires_at: datetime
    ) -> IssuedToken:
        issued = int(now.timestamp())
        # Whole seconds; a token of less than one would be none.
        expires = max(int(expires_at.timestamp()), issued + 1)
        key = self.keys.newest
        text = jwt.encode(
            {
                "iss": self.issuer,
                "sub": user.user_id,
                "iat": issued,
                "nbf": issued,
                "exp": expires,
                "jti": new_id(),
                "role": user.role.value,
                **claims,
            },
            key.private_key,
            algorithm="EdDSA",
            headers={"typ": "at+jwt", "kid": key.kid},
        )
        return IssuedToken(text, datetime.fromtimestamp(expires, UTC))
