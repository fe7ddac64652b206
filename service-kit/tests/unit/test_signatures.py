"""Signatures that anybody can verify with the public key alone."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit.signatures import (
    SigningKey,
    SigningKeyUnusable,
    canonical_json,
    is_signed,
    jwk_of,
    key_id_of,
    public_key_of,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_signature_verifies_with_its_key_alone() -> None:
    """A message verifies with the key that signed it, and with no other."""
    key, other = SigningKey.generate(), SigningKey.generate()

    signature = key.sign(b"a message")

    assert is_signed(b"a message", signature, key.public_key)
    assert not is_signed(b"a message", signature, other.public_key)


@pytest.mark.parametrize("at", [0, 31, 63])
def test_changed_signature_does_not_verify(at: int) -> None:
    """Every byte of a signature counts."""
    key = SigningKey.generate()
    signature = bytearray(key.sign(b"a message"))
    signature[at] ^= 1

    assert not is_signed(b"a message", bytes(signature), key.public_key)


@pytest.mark.parametrize("message", [b"", b"a messag", b"a message ", b"b message"])
def test_changed_message_does_not_verify(message: bytes) -> None:
    """So does every byte of the message."""
    key = SigningKey.generate()

    assert not is_signed(message, key.sign(b"a message"), key.public_key)


@pytest.mark.parametrize(
    ("signature", "public_key"), [(b"", b"x" * 32), (b"x" * 64, b""), (b"x" * 65, b"x" * 32)]
)
def test_malformed_parts_are_not_signed(signature: bytes, public_key: bytes) -> None:
    """Keys and signatures of a wrong length are a no, never an exception."""
    assert not is_signed(b"a message", signature, public_key)


@given(VALUES)
def test_canonical_json_says_the_same(value: object) -> None:
    """Reading it gives the value back, and writing that gives the same bytes."""
    written = canonical_json(value)

    assert json.loads(written) == value
    assert canonical_json(json.loads(written)) == written


def test_canonical_json_does_not_depend_on_order() -> None:
    """Two equal objects have one form."""
    assert canonical_json({"b": 1, "a": "ö"}) == canonical_json({"a": "ö", "b": 1})
    assert canonical_json({"b": 1, "a": "ö"}) == '{"a":"ö","b":1}'.encode()


@pytest.mark.parametrize("value", [0.5, {"a": [1.0]}, (1, {"b": float("nan")}), {1: "a"}, b"a"])
def test_values_without_one_form_are_refused(value: object) -> None:
    """Fractions, and what JSON does not have, can't be signed."""
    with pytest.raises(TypeError):
        canonical_json(value)


def test_key_id_is_the_thumbprint() -> None:
    """The example of RFC 8037, appendix A.3."""
    public_key = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")

    assert key_id_of(public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_jwk_carries_the_key() -> None:
    """A published key can be read back."""
    key = SigningKey.generate()

    assert jwk_of(key.public_key)["kid"] == key.key_id
    assert public_key_of(jwk_of(key.public_key)) == key.public_key


@pytest.mark.parametrize("jwk", [{}, {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, {"kty": "RSA"}])
def test_other_jwks_are_refused(jwk: dict[str, str]) -> None:
    """What is no Ed25519 key says so."""
    with pytest.raises(ValueError, match="Ed25519"):
        public_key_of(jwk)


def test_key_is_created_once(tmp_path: Path) -> None:
    """The first start writes a key that only its owner can read; later ones use it."""
    path = tmp_path / "keys" / "result.pem"

    first, again = SigningKey.load_or_create(path), SigningKey.load_or_create(path)

    assert first.key_id == again.key_id
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["result.pem"]


def test_containers_on_one_volume_share_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write at once, under one process number: the first key to be there is everybody's."""
    path = tmp_path / "result.pem"
    link, others = os.link, []

    def link_after_another(draft: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        others.append(SigningKey.load_or_create(target))
        link(draft, target)

    monkeypatch.setattr(os, "link", link_after_another)

    key = SigningKey.load_or_create(path)

    assert [other.key_id for other in others] == [key.key_id]
    assert [each.name for each in tmp_path.iterdir()] == ["result.pem"]


def test_missing_key_is_named(tmp_path: Path) -> None:
    """The message says which file is missing."""
    with pytest.raises(SigningKeyUnusable, match=r"missing\.pem"):
        SigningKey.load(tmp_path / "missing.pem")


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A key in the open is no key."""
    path = tmp_path / "open.pem"
    SigningKey.load_or_create(path)
    path.chmod(0o604)

    with pytest.raises(SigningKeyUnusable, match="can be read by others"):
        SigningKey.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file without a key is refused by name."""
    path = tmp_path / "notes.pem"
    path.touch(0o600)

    with pytest.raises(SigningKeyUnusable, match=r"notes\.pem"):
        SigningKey.load(path)
