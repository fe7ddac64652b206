"""Receipts in the form of docs/receipts.md."""

from __future__ import annotations

import json

from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints import convert
from gateway.entrypoints.schemas.receipts import ReceiptKeyView, ReceiptView
from service_kit.signatures import jwk_of


def receipt_view(receipt: pb.Receipt) -> ReceiptView:
    # It holds texts and whole numbers only, so what a client writes down again is what was signed.
    return ReceiptView(
        statement=json.loads(receipt.statement),
        key_id=receipt.key_id,
        signature=receipt.signature.hex(),
        keys=[receipt_key_view(key) for key in receipt.keys],
    )


def receipt_key_view(key: pb.ReceiptKey) -> ReceiptKeyView:
    return ReceiptKeyView.model_validate(
        {
            **jwk_of(key.public_key),
            "owner": key.owner,
            "created_at": convert.find_time(key, "created_at"),
        }
    )
