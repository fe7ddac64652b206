"""Exchange an API key for a token that lives for a minute, between services."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.api_key import hash_secret, is_well_formed
from auth_service.domain.errors import ApiKeyRefused
from auth_service.usecases.ports import IssuedToken, TokenSigner, UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class ExchangeApiKey:
    """Turns the secret of a key into an internal token of its owner."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    signer: TokenSigner

    async def __call__(self, secret: str) -> IssuedToken:
        """Return the token.

        Raises:
            ApiKeyRefused: Not a key, or one that is expired or deleted, or its owner
                has left the project.
        """
        if not is_well_formed(secret):
            # Offline: guessing costs the guesser more than it costs us.
            raise ApiKeyRefused()
        now = self.clock.now()
        async with self.unit_of_work() as work:
            key = await work.api_keys.find_by_hash(hash_secret(secret))
            if key is None or not key.is_usable(now):
                raise ApiKeyRefused()
            owner = await work.users.find(key.user_id)
            membership = await work.projects.find_membership(key.user_id, key.project_id)
            if owner is None or membership is None:
                raise ApiKeyRefused()
            if key.use_is_news(now):
                await work.api_keys.record_use(key.key_id, now)
        return self.signer.internal_token(key, owner, now)
