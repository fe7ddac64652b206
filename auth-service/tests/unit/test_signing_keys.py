"""Signing keys in files, and the tokens they sign."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from auth_service.adapters.signing_keys import SigningKeyFiles, SigningKeysUnusable


def test_the_newest_file_signs(signing_keys_dir, new_signing_key):
    """All are listed, newest first; of the same age, the last by name."""
    new_signing_key(signing_keys_dir, "k0", 1_000)
    new_signing_key(signing_keys_dir, "k2", 2_000_000_000)
    new_signing_key(signing_keys_dir, "k3", 2_000_000_000)

    keys = SigningKeyFiles(signing_keys_dir)

    assert keys.newest.kid == "k3"
    assert [key.kid for key in keys.list_public()] == ["k3", "k2", "k1", "k0"]
    assert all(len(key.public_bytes) == 32 for key in keys.list_public())
    assert "PrivateKey object" not in repr(keys.newest)


def test_no_key_is_no_start(tmp_path):
    """The variable is named."""
    with pytest.raises(SigningKeysUnusable, match="SIGNING_KEYS_DIR"):
        SigningKeyFiles(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620])
def test_a_key_open_to_others_is_refused(signing_keys_dir, mode):
    """Whoever can read or replace it could be us."""
    (signing_keys_dir / "k1.pem").chmod(mode)

    with pytest.raises(SigningKeysUnusable, match=r"k1\.pem"):
        SigningKeyFiles(signing_keys_dir)


def test_other_files_are_no_keys(signing_keys_dir):
    """Neither noise nor a key of another kind, nor a name with spaces."""
    path = signing_keys_dir / "k2.pem"
    path.touch(mode=0o600)
    curve = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for content in (b"noise", curve):
        path.write_bytes(content)
        with pytest.raises(SigningKeysUnusable, match=r"k2\.pem"):
            SigningKeyFiles(signing_keys_dir)
    path.rename(signing_keys_dir / "k 2.pem")
    with pytest.raises(SigningKeysUnusable):
        SigningKeyFiles(signing_keys_dir)


async def test_an_access_token_has_the_claims_of_the_contract(world, clock):
    """Neither more nor less, with whole numbers for times."""
    account, tokens = await world.registered()

    header = jwt.get_unverified_header(tokens.access_token)
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})

    now = int(clock.now().timestamp())
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
    assert set(claims) == {"iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid", "role"}
    assert (claims["iss"], claims["aud"], claims["role"]) == ("weir", "weir", "user")
    assert (claims["iat"], claims["nbf"], claims["exp"]) == (now, now, now + 900)
    assert claims["sub"] == account.user.user_id


async def test_an_old_key_verifies_to_its_end(world, make_world, signing_keys_dir, new_signing_key):
    """X-A8: after a rotation, tokens of the key before are still accepted."""
    _, tokens = await world.registered()
    new_signing_key(signing_keys_dir, "k2", 4_000_000_000)
    rotated = make_world()
    _, newer = await rotated.registered("ben@example.org")
    verifier = await rotated.verifier()

    assert jwt.get_unverified_header(newer.access_token)["kid"] == "k2"
    assert await verifier.verify(tokens.access_token)
    assert await verifier.verify(newer.access_token)
