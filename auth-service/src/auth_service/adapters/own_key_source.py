"""Keys and denials for this service's own verifier, without a call over the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.usecases.list_denials import ListDenials
from auth_service.usecases.ports import SigningKeys
from service_kit.tokens import Denial, PublicKey


@dataclass(frozen=True, slots=True)
class OwnKeySource:
    """The kit's `KeySource` over our own files and database."""

    signing_keys: SigningKeys
    denials: ListDenials

    async def list_keys(self) -> Sequence[PublicKey]:
        return [PublicKey(key.kid, key.public_bytes) for key in self.signing_keys.list_public()]

    async def list_denials(self, after_sequence: int) -> Sequence[Denial]:
        return [
            Denial(
                sequence=denial.sequence,
                kind=denial.kind.value,
                subject=denial.subject,
                denied_at=denial.denied_at,
                expires_at=denial.expires_at,
            )
            for denial in await self.denials(after_sequence)
        ]
