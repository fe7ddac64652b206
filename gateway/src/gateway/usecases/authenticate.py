"""Turn a credential into the caller behind it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.credentials import ApiKey, Credential
from gateway.usecases.exchange_api_key import ExchangeApiKey
from service_kit.errors import Unauthenticated
from service_kit.request_context import Caller
from service_kit.tokens import TokenVerifier


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Verifies a person's token here, or exchanges an API key at auth-service.

    Args:
        person_tokens: Accepts `aud=weir` only, so an internal token is refused from outside.
        internal_tokens: Accepts `aud=weir-internal` only: what auth-service gave for a key,
            checked at each use against the denials.
        exchange_api_key: Keeps exchanged keys.
    """

    person_tokens: TokenVerifier
    internal_tokens: TokenVerifier
    exchange_api_key: ExchangeApiKey

    async def __call__(self, credential: Credential) -> Caller:
        """Return the caller; its `token` is what is forwarded to the services.

        Raises:
            Unauthenticated: The credential is not accepted.
            Unavailable: It can't be checked at the moment.
        """
        if isinstance(credential, ApiKey):
            return await self._holder_of(credential)
        return await self.person_tokens.verify(credential.token)

    async def _holder_of(self, key: ApiKey) -> Caller:
        token = await self.exchange_api_key(key)
        try:
            return await self.internal_tokens.verify(token)
        except Unauthenticated:
            # The kept token was denied; the key itself may still be good (a changed role).
            self.exchange_api_key.forget(key)
        return await self.internal_tokens.verify(await self.exchange_api_key(key))
