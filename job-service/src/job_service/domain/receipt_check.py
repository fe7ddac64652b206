"""Whether a receipt proves what it says: to anybody, with the public keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from job_service.domain.receipt import SIGNER
from job_service.domain.receipt_document import (
    ReceiptRefused,
    RingKey,
    Signed,
    key_ring,
    signed_from,
)
from job_service.domain.result_statement import worker_owner
from job_service.domain.specification import operation_of
from job_service.domain.statement_forms import (
    MalformedStatement,
    check_receipt_form,
    check_result_form,
)
from service_kit.signatures import canonical_json, is_signed

RECEIPT: Final = "receipt"
RESULT: Final = "worker's result"
# What both statements say, under the same names.
_SHARED: Final = (
    "job_id",
    "attempt",
    "model",
    "prompt_digest",
    "output_digest",
    "tokens_input",
    "tokens_output",
)


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What is proved, and by whose keys. `worker` is `None` where no worker signed."""

    statement: Mapping[str, Any]
    signer: RingKey
    worker: RingKey | None


def verify_receipt(document: object, ring: Mapping[str, RingKey] | None = None) -> VerifiedReceipt:
    """Return what a receipt proves.

    Args:
        document: As `GET /api/v1/jobs/{id}/receipt` gives it.
        ring: The keys to believe; `None` for those inside of the receipt, whoever put them there.

    Raises:
        ReceiptRefused: Everything that is wrong with it.
    """
    receipt = signed_from(document, RECEIPT)
    assert isinstance(document, Mapping)
    keys = key_ring(document.get("keys")) if ring is None else ring
    problems = [*_signature_problems(receipt, RECEIPT, keys)]
    result = _result_of(receipt)
    if result is not None:
        problems += _signature_problems(result, RESULT, keys)
    if problems:
        raise ReceiptRefused(*problems)
    _check_forms(receipt, result)
    problems += _owner_problems(receipt, RECEIPT, SIGNER, keys)
    if result is not None:
        owner = worker_owner(result.statement["worker_id"])
        problems += _owner_problems(result, RESULT, owner, keys)
        problems += _differences(receipt.statement, result.statement)
    if problems:
        raise ReceiptRefused(*problems)
    worker = keys[result.key_id] if result is not None else None
    return VerifiedReceipt(receipt.statement, keys[receipt.key_id], worker)


def _check_forms(receipt: Signed, result: Signed | None) -> None:
    try:
        check_receipt_form(receipt.statement)
        if result is not None:
            check_result_form(result.statement)
    except MalformedStatement as error:
        raise ReceiptRefused(str(error)) from error


def _result_of(receipt: Signed) -> Signed | None:
    result = receipt.statement.get("result")
    return None if result is None else signed_from(result, RESULT)


def _signature_problems(signed: Signed, whose: str, keys: Mapping[str, RingKey]) -> list[str]:
    key = keys.get(signed.key_id)
    if key is None:
        return [f"The {whose} is signed with the unknown key {signed.key_id}."]
    try:
        message = canonical_json(signed.statement)
    except (TypeError, ValueError, RecursionError):
        return [f"The {whose}'s statement holds what canonical JSON has no form for."]
    if not is_signed(message, signed.signature, key.public_key):
        return [f"The {whose}'s signature is wrong: key {key.key_id} did not sign this."]
    return []


def _owner_problems(
    signed: Signed, whose: str, owner: str, keys: Mapping[str, RingKey]
) -> list[str]:
    key = keys[signed.key_id]
    if key.owner == owner:
        return []
    return [f"The {whose} is signed with the key of {key.owner}, not of {owner}."]


def _differences(receipt: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    different = [name for name in _SHARED if receipt[name] != result[name]]
    if result["operation"] != operation_of(receipt["job_type"]):
        different.append("operation")
    if not different:
        return []
    return [f"The worker's statement disagrees with the receipt: {', '.join(different)}."]
