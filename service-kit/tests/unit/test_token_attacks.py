"""Tokens that must be refused (X-A1 to X-A5), each made with everything else in order."""

import base64
import hashlib
import hmac
import json
import random

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service_kit.errors import Unauthenticated
from service_kit.testing.clock import FixedClock
from service_kit.testing.tokens import TestIssuer

NOW = int(FixedClock().now().timestamp())


@pytest.fixture
def issuer():
    return TestIssuer(clock=FixedClock())


@pytest.fixture
async def verifier(issuer):
    return await issuer.verifier()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def person_claims(**changes):
    claims = {
        "iss": "weir",
        "sub": "user-1",
        "aud": "weir",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 900,
        "jti": "j1",
        "sid": "s1",
        "role": "user",
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


def key_claims(**changes):
    own = {"aud": "weir-internal", "sid": ..., "key_id": "k1", "project_id": "p1", "scope": "read"}
    return person_claims(**(own | changes))


def signed_raw(issuer, header: str, payload: str) -> str:
    """Sign any text as header and payload, however odd, with the true key."""
    signing_input = f"{b64(header.encode())}.{b64(payload.encode())}"
    return f"{signing_input}.{b64(issuer.private_key.sign(signing_input.encode()))}"


async def refused(verifier, token, reason="TOKEN_INVALID"):
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason == reason
    return True


async def test_the_untouched_token_is_accepted(issuer, verifier):
    """What the attacks below start from is a good token."""
    claims = person_claims()
    caller = await verifier.verify(issuer.sign(claims))

    assert (caller.user_id, caller.kind, caller.session_id) == ("user-1", "person", "s1")
    assert caller.expires_at == claims["exp"]


async def test_exchanged_key_is_accepted(issuer, verifier):
    """The internal token of an API key names key, project and scopes."""
    caller = await verifier.verify(issuer.sign(key_claims(scope="read inference")))

    assert (caller.kind, caller.key_id, caller.project_id) == ("api_key", "k1", "p1")
    assert caller.scopes == {"read", "inference"}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
async def test_unsigned_token_is_refused(issuer, verifier, alg):
    """X-A1: `alg: none` is not a signature."""
    header = json.dumps({"alg": alg, "typ": "at+jwt", "kid": issuer.kid})
    unsigned = f"{b64(header.encode())}.{b64(json.dumps(person_claims()).encode())}."

    assert await refused(verifier, unsigned)
    assert await refused(verifier, unsigned + "AAAA")
    assert await refused(verifier, signed_raw(issuer, header, json.dumps(person_claims())))


async def test_public_key_is_no_shared_secret(issuer, verifier):
    """X-A1: HS256 with the public key as the secret is refused, in every encoding of it."""
    public = issuer.private_key.public_key()
    for secret in (
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        header = json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": issuer.kid})
        body = f"{b64(header.encode())}.{b64(json.dumps(person_claims()).encode())}"
        mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
        assert await refused(verifier, f"{body}.{b64(mac)}")


@pytest.mark.parametrize(
    "kid",
    ["../../etc/passwd", "' OR 1=1 --", "unknown", "k" * 10_240, "", 7, None, ["test-key-1"], ...],
)
async def test_kid_is_taken_from_the_list_alone(issuer, verifier, kid):
    """X-A2: a kid that the key source did not list opens nothing."""
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
    header = {name: value for name, value in header.items() if value is not ...}
    token = signed_raw(issuer, json.dumps(header), json.dumps(person_claims()))

    assert await refused(verifier, token)


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t", "crit", "cty", "b64", "zip"])
async def test_header_brings_no_key_of_its_own(issuer, verifier, name):
    """X-A2, X-A5: a header that points elsewhere is refused, not followed."""
    stranger = Ed25519PrivateKey.generate()
    raw = stranger.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    value = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}, "crit": ["exp"]}.get(
        name, "http://127.0.0.1:1/keys"
    )
    asked = issuer.times_asked

    with_stranger = jwt.encode(
        person_claims(), stranger, "EdDSA", {"typ": "at+jwt", "kid": issuer.kid, name: value}
    )
    assert await refused(verifier, with_stranger)
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.kid, name: value}
    assert await refused(
        verifier, signed_raw(issuer, json.dumps(header), json.dumps(person_claims()))
    )
    assert issuer.times_asked == asked


@pytest.mark.parametrize("typ", ["JWT", "rt+jwt", "refresh", "at+JWT", "", None, 1, ...])
async def test_only_access_tokens_are_access_tokens(issuer, verifier, typ):
    """X-A3: a refresh token, or one that does not say what it is, opens nothing."""
    header = {"alg": "EdDSA", "typ": typ, "kid": issuer.kid}
    header = {name: value for name, value in header.items() if value is not ...}

    assert await refused(
        verifier, signed_raw(issuer, json.dumps(header), json.dumps(person_claims()))
    )


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [str(NOW + 900), True, None, NOW + 900.5, [NOW], -1, 2**63, 10**40, {}]
)
async def test_times_are_whole_numbers(issuer, verifier, claim, value):
    """X-A3: a string, a flag or a fraction is no time."""
    assert await refused(verifier, issuer.sign_raw_claims(person_claims(**{claim: value})))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_times_are_numbers_of_json(issuer, verifier, constant):
    """X-A3: what Python reads as a number and JSON does not know is refused."""
    payload = json.dumps(person_claims()).replace(str(NOW + 900), constant)
    header = json.dumps({"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.kid})

    assert await refused(verifier, signed_raw(issuer, header, payload))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 31}, "TOKEN_INVALID"),  # it would end before it began
        ({"iat": NOW - 900, "nbf": NOW - 900, "exp": NOW - 30}, "TOKEN_EXPIRED"),
        ({"iat": NOW - 900, "nbf": NOW - 900, "exp": NOW - 3000}, "TOKEN_INVALID"),
        ({"nbf": NOW + 31}, "TOKEN_INVALID"),
        ({"iat": NOW + 31, "nbf": NOW}, "TOKEN_INVALID"),
        ({"exp": ...}, "TOKEN_INVALID"),
        ({"iat": ...}, "TOKEN_INVALID"),
        ({"iss": "weird"}, "TOKEN_INVALID"),
        ({"iss": ...}, "TOKEN_INVALID"),
        ({"iss": ["weir"]}, "TOKEN_INVALID"),
        ({"aud": "other"}, "TOKEN_INVALID"),
        ({"aud": ...}, "TOKEN_INVALID"),
        ({"aud": ["weir"]}, "TOKEN_INVALID"),
        ({"aud": ["weir", "weir-internal"]}, "TOKEN_INVALID"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"aud": ""}, "TOKEN_INVALID"),
        ({"sub": 1}, "TOKEN_INVALID"),
        ({"sub": ""}, "TOKEN_INVALID"),
        ({"sub": ...}, "TOKEN_INVALID"),
        ({"role": ...}, "TOKEN_INVALID"),
        ({"role": ["admin"]}, "TOKEN_INVALID"),
        ({"jti": 5}, "TOKEN_INVALID"),
        ({"sid": ...}, "TOKEN_INVALID"),
        ({"sid": None}, "TOKEN_INVALID"),
        ({"key_id": "k1"}, "TOKEN_INVALID"),  # a session and a key at once
    ],
)
async def test_wrong_claims_are_refused(issuer, verifier, changes, reason):
    """X-A4: every claim must be there, have its type, and be meant for us, now."""
    assert await refused(verifier, issuer.sign_raw_claims(person_claims(**changes)), reason)


@pytest.mark.parametrize(
    "changes",
    [{"project_id": ...}, {"scope": ...}, {"scope": ["admin"]}, {"key_id": 3}, {"scope": ""}],
)
async def test_wrong_claims_of_keys_are_refused(issuer, verifier, changes):
    """X-A4: an exchanged key without its project or scope is refused."""
    assert await refused(verifier, issuer.sign_raw_claims(key_claims(**changes)))


async def test_edge_refuses_internal_tokens(issuer):
    """A verifier accepts the audiences it was given and no other."""
    edge = await issuer.verifier(audiences=["weir"])

    assert await refused(edge, issuer.key_token())
    assert (await edge.verify(issuer.person_token())).user_id == "user-1"


async def test_leeway_is_thirty_seconds(issuer, verifier):
    """X-R17: clocks may be apart by less than 30 s, in both directions."""
    late = issuer.sign(person_claims(iat=NOW - 900, nbf=NOW - 900, exp=NOW - 29))
    early = issuer.sign(person_claims(iat=NOW + 30, nbf=NOW + 30))

    assert (await verifier.verify(late)).user_id == "user-1"
    assert (await verifier.verify(early)).user_id == "user-1"


async def test_tampered_tokens_are_refused(issuer, verifier):
    """X-A5: a change of any single character is noticed."""
    token = issuer.sign(person_claims())
    for position, character in enumerate(token):
        other = "A" if character != "A" else "B"
        assert await refused(verifier, token[:position] + other + token[position + 1 :])


async def test_form_is_exact(issuer, verifier):
    """X-A5: three segments of canonical base64url, and nothing around them."""
    token = issuer.sign(person_claims())
    header, payload, signature = token.split(".")
    # The last character of a 64-byte signature holds two bits; others decode to the same bytes.
    twin = signature[:-1] + chr(ord(signature[-1]) + 1)
    for wrong in (
        "",
        ".",
        "..",
        f"{token}.",
        f".{token}",
        f"{token}.{signature}",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f"{token}=",
        f"{header}=.{payload}.{signature}",
        f" {token}",
        f"{token}\n",
        f"{header}.{payload}.{signature[:-2]}",
        f"{header}.{payload}.{twin}",
        f"Bearer {token}",
        token.replace(".", "%2E"),
        "\ud800" * 10,
        "é" * 30,
        "A" * 1_000_000,
        f"{header}.{'A' * 1_000_000}.{signature}",
    ):
        assert await refused(verifier, wrong)


async def test_duplicate_keys_are_refused(issuer, verifier):
    """X-A5: a name that is there twice has no meaning."""
    header = json.dumps({"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.kid})
    payload = json.dumps(person_claims())
    twice = payload.replace('"role": "user"', '"role": "user", "role": "admin"')
    nested = payload.replace('"jti": "j1"', '"jti": "j1", "x": {"a": 1, "a": 2}')
    header_twice = header.replace('"alg"', '"alg": "none", "alg"')

    assert await refused(verifier, signed_raw(issuer, header, twice))
    assert await refused(verifier, signed_raw(issuer, header, nested))
    assert await refused(verifier, signed_raw(issuer, header_twice, payload))


@pytest.mark.parametrize("payload", ["[]", "null", '"x"', "1", "", "{", "[" * 3000, "{}{}", "\0"])
async def test_payload_is_an_object(issuer, verifier, payload):
    """X-A5: a signed payload that is no JSON object is refused, however deep it is."""
    header = json.dumps({"alg": "EdDSA", "typ": "at+jwt", "kid": issuer.kid})

    assert await refused(verifier, signed_raw(issuer, header, payload))


async def test_large_token_is_refused_before_work(issuer, verifier):
    """X-A5: more than 8 KiB is not looked at, even with a good signature."""
    assert await refused(verifier, issuer.sign(person_claims(pad="x" * 8192)))


async def test_fuzzed_tokens_are_refused_and_nothing_else_happens(issuer, verifier):
    """X-A5: 10,000 random tokens (seed 20260102) give 10,000 refusals and no other exception."""
    dice = random.Random(20260102)
    good = issuer.sign(person_claims())
    alphabet = "ABCabc019-_.=% \x00é"
    for _ in range(10_000):
        token = list(good)
        for _ in range(dice.randint(1, 6)):
            action, place = dice.randrange(3), dice.randrange(len(token))
            if action == 0:
                token[place] = dice.choice(alphabet)
            elif action == 1:
                token.insert(place, dice.choice(alphabet))
            else:
                del token[place]
        if "".join(token) != good:
            assert await refused(verifier, "".join(token))
