"""Make the key that signs receipts known."""

from __future__ import annotations

from dataclasses import dataclass

from job_service.domain.receipt import SIGNER, ReceiptKey
from job_service.usecases.ports import ReceiptSigner, UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class KeepSigningKey:
    """Keeps our public key for good, before the first receipt names it. May be repeated."""

    unit_of_work: UnitOfWorkFactory
    signer: ReceiptSigner

    async def __call__(self) -> None:
        async with self.unit_of_work() as work:
            await work.receipts.keep_key(
                ReceiptKey(self.signer.key_id, self.signer.public_key, SIGNER)
            )
