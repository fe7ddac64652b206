"""Receipts and their keys, as a client gets them to verify."""

import asyncio
import json

import pytest

from service_kit.errors import ErrorCode
from service_kit.signatures import canonical_json, is_signed, key_id_of, public_key_of

from ..stand_ins import JOB_ID, OTHER_PROJECT_ID, SIGNING_KEY, a_receipt, job_service_pb2, refusal

PATH = f"/api/v1/jobs/{JOB_ID}/receipt"
KEYS = "/.well-known/weir-receipt-keys.json"


async def test_receipt_verifies_as_it_is_read(http, program):
    """Parsed, and written down again in the canonical form, it is what was signed."""
    answer = await http.get(PATH, headers=program)

    assert answer.status_code == 200
    receipt = json.loads(answer.text)
    (key,) = receipt["keys"]
    public_key = public_key_of(key)
    assert receipt["key_id"] == key["kid"] == key_id_of(public_key)
    assert len(receipt["signature"]) == 128
    assert is_signed(
        canonical_json(receipt["statement"]), bytes.fromhex(receipt["signature"]), public_key
    )
    assert receipt["statement"]["charge_nanousd"] == 2**60
    assert (key["kty"], key["crv"], key["owner"]) == ("OKP", "Ed25519", "job-service")


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (ErrorCode.FAILED_PRECONDITION, "JOB_NOT_FINISHED", 409),
        (ErrorCode.NOT_FOUND, "RECEIPT_NOT_FOUND", 404),
        (ErrorCode.NOT_FOUND, "JOB_NOT_FOUND", 404),
    ],
)
async def test_no_receipt(http, script, program, code, reason, status):
    """Not yet, or not at all."""
    script.answers["GetReceipt"] = refusal(code, reason)

    answer = await http.get(PATH, headers=program)

    assert answer.status_code == status
    assert answer.json()["title"] == reason


async def test_receipt_is_for_whom_it_concerns(http, script):
    """Nobody reads it without a credential."""
    assert (await http.get(PATH)).status_code == 401
    assert not script.of("GetReceipt")


async def test_receipt_of_a_person_is_found(http, script, person):
    """In whichever of their projects the job is; an id that can't be one is nowhere."""

    def in_another_project(request, context):
        if request.project_id != OTHER_PROJECT_ID:
            return refusal(ErrorCode.NOT_FOUND, "JOB_NOT_FOUND")
        return job_service_pb2.GetReceiptResponse(receipt=a_receipt())

    script.answers["GetReceipt"] = in_another_project

    assert (await http.get(PATH, headers=person)).status_code == 200
    assert (await http.get("/api/v1/jobs/x/receipt", headers=person)).status_code == 404


async def test_keys_are_public(http, script):
    """No credential is asked for; anybody may keep them for a minute."""
    answer = await http.get(KEYS)

    assert answer.status_code == 200
    assert answer.headers.get_list("cache-control") == ["public, max-age=60"]
    (key,) = answer.json()["keys"]
    assert public_key_of(key) == SIGNING_KEY.public_key
    assert key["created_at"] == "2026-01-02T03:04:05Z"
    assert "authorization" not in script.last("ListReceiptKeys").metadata


async def test_keys_are_limited_by_address(serve, script):
    """Nobody is known, so addresses are counted."""
    async with serve(auth_rate_limit_per_minute=1) as served, served.client() as http:
        statuses = [(await http.get(KEYS)).status_code for _ in range(2)]

    assert statuses == [200, 429]


async def test_many_who_ask_for_keys_cost_one_call(http, script):
    """The list is open to everybody, so asking for it costs the services behind nothing."""
    await asyncio.gather(*(http.get(KEYS) for _ in range(20)))

    assert len(script.of("ListReceiptKeys")) <= 1
