"""Receipts, and the keys to verify them with. Their form is described in docs/receipts.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gateway.entrypoints.schemas.base import View


class ReceiptKeyView(View):
    """A public key (RFC 8037), named by its thumbprint (RFC 7638), and whose it is."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    owner: str
    created_at: datetime | None


class ReceiptView(View):
    """What a job did and cost. The signature is over the statement as canonical JSON."""

    statement: dict[str, Any]
    key_id: str
    signature: str
    """Ed25519, hexadecimal."""
    keys: list[ReceiptKeyView]


class ReceiptKeysView(View):
    """Every key that signed receipts, or results within them; newest first."""

    keys: list[ReceiptKeyView]
