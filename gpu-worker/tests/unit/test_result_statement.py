"""What a worker signs: the form that docs/receipts.md promises."""

import hashlib
import json
import struct
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gpu_worker.domain.generation import Delta, Embedding, FinishReason
from gpu_worker.domain.prompt import ChatMessage, Operation, Prompt, Role
from gpu_worker.domain.result_statement import OutputDigest, ResultStatement, prompt_digest
from service_kit.signatures import SigningKey, canonical_json, is_signed, key_id_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)


@pytest.fixture
def statement():
    return ResultStatement(
        job_id="j1",
        attempt=2,
        worker_id="w1",
        operation=Operation.CHAT,
        model="small",
        model_digest="m" * 64,
        prompt_digest="p" * 64,
        output_digest="o" * 64,
        tokens_input=3,
        tokens_output=4,
        finish_reason=FinishReason.LENGTH,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1),
    )


@pytest.fixture
def key():
    return SigningKey.generate()


def test_form(statement):
    """Every field of the documented form, canonical, and no other."""
    assert statement.canonical() == (
        b'{"attempt":2,"finish_reason":"length","finished_at":"2026-01-02T03:04:06.000060Z",'
        b'"job_id":"j1","model":"small","model_digest":"' + b"m" * 64 + b'","operation":"chat",'
        b'"output_digest":"' + b"o" * 64 + b'","prompt_digest":"' + b"p" * 64 + b'",'
        b'"started_at":"2026-01-02T03:04:05.000060Z","tokens_input":3,"tokens_output":4,'
        b'"type":"weir.result.v1","worker_id":"w1"}'
    )


def test_times_are_utc(statement):
    """Wherever the clock is, and also on a whole second."""
    there = datetime(2026, 1, 2, 4, 0, tzinfo=timezone(timedelta(hours=1)))

    said = json.loads(replace(statement, started_at=there).canonical())

    assert said["started_at"] == "2026-01-02T03:00:00.000000Z"


def test_signature_is_the_keys(statement, key):
    """The kit verifies it, with the key that the result names."""
    signed = statement.signed_by(key)

    assert is_signed(signed.statement, signed.signature, signed.public_key)
    assert signed.statement == statement.canonical()
    assert signed.key_id == key_id_of(signed.public_key) == key.key_id


@pytest.mark.parametrize("name", [field.name for field in fields(ResultStatement)])
def test_any_other_value_is_not_signed(statement, key, name):
    """A statement in which one field was changed does not verify."""
    value = getattr(statement, name)
    if isinstance(value, Operation):
        other = Operation.EMBEDDING
    elif isinstance(value, FinishReason):
        other = FinishReason.STOP
    elif isinstance(value, datetime):
        other = value + timedelta(microseconds=1)
    else:
        other = value + type(value)(1)
    changed = replace(statement, **{name: other}).canonical()
    signed = statement.signed_by(key)

    assert changed != signed.statement
    assert not is_signed(changed, signed.signature, signed.public_key)


def test_changed_bytes_are_not_signed(statement, key):
    """The type is part of it, and so is every byte; another key does not verify it."""
    signed = statement.signed_by(key)
    other_type = signed.statement.replace(b"weir.result.v1", b"weir.result.v2")

    assert not is_signed(other_type, signed.signature, signed.public_key)
    assert not is_signed(signed.statement + b" ", signed.signature, signed.public_key)
    assert not is_signed(signed.statement, signed.signature[::-1], signed.public_key)
    assert not is_signed(signed.statement, signed.signature, SigningKey.generate().public_key)


def test_digest_of_a_conversation():
    """Roles and contents in their order, nothing else."""
    messages = (ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, 'Ñ "🎉"\n'))
    said = (
        '{"messages":[{"content":"Be brief.","role":"system"},'
        '{"content":"Ñ \\"🎉\\"\\n","role":"user"}]}'
    )

    assert prompt_digest(Prompt("j", 1, "m", messages)) == sha256(said.encode())


@pytest.mark.parametrize(
    ("operation", "inputs"),
    [(Operation.COMPLETION, ("Once",)), (Operation.EMBEDDING, ("a", "b"))],
)
def test_digest_of_inputs(operation, inputs):
    """The texts in their order."""
    prompt = Prompt("j", 1, "m", operation=operation, inputs=inputs)

    assert prompt_digest(prompt) == sha256(canonical_json({"inputs": list(inputs)}))


def test_digest_of_a_text():
    """It does not matter where the text was cut."""
    whole, pieces = OutputDigest(), OutputDigest()
    whole.add(Delta("señor 🎉", 5))
    for text in ("se", "", "ñor ", "🎉"):
        pieces.add(Delta(text, 1))

    assert whole.hexadecimal == pieces.hexadecimal == sha256("señor 🎉".encode())


def test_digest_of_vectors():
    """All values as little-endian 32-bit floats."""
    digest = OutputDigest()
    digest.add(Embedding(0, (0.1, -2.0)))
    digest.add(Embedding(1, (0.3,)))

    assert digest.hexadecimal == sha256(struct.pack("<fff", 0.1, -2.0, 0.3))


def sha256(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()
