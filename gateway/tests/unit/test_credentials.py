"""One credential, in any of its forms, and never two."""

import pytest

from gateway.domain.credentials import ApiKey, PersonToken, checksum, read_credential
from service_kit.errors import Unauthenticated

BODY = "k" * 43
KEY = f"sk-{BODY}{checksum(BODY)}"


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        ([f"Bearer {KEY}"], []),
        ([f"bearer {KEY}"], []),
        ([KEY], []),
        ([], [KEY]),
        ([f"Bearer {KEY}"], [KEY]),
    ],
)
def test_forms_of_an_api_key(authorization, api_key):
    """With `Bearer`, bare, in its own header, or the same one in both."""
    assert read_credential(authorization, api_key) == ApiKey(KEY)


def test_person_token():
    """A person's token comes with `Bearer`."""
    assert read_credential(["Bearer a.b.c"], []) == PersonToken("a.b.c")


@pytest.mark.parametrize(
    ("authorization", "api_key", "reason"),
    [
        ([], [], "CREDENTIAL_MISSING"),
        (["Bearer a.b.c"], [KEY], "CREDENTIAL_AMBIGUOUS"),
        (["Bearer a.b.c", "Bearer d.e.f"], [], "CREDENTIAL_AMBIGUOUS"),
        (["Basic YTpi"], [], "CREDENTIAL_INVALID"),
        (["a.b.c"], [], "CREDENTIAL_INVALID"),
        (["Bearer"], [], "CREDENTIAL_INVALID"),
        (["Bearer "], [], "CREDENTIAL_INVALID"),
        ([f"Bearer {'a' * 9000}"], [], "CREDENTIAL_INVALID"),
        ([f"{KEY} x"], [], "CREDENTIAL_INVALID"),
        ([], ["a.b.c"], "API_KEY_REFUSED"),
        ([], [""], "API_KEY_REFUSED"),
        (["Bearer sk-short"], [], "API_KEY_REFUSED"),
        ([f"Bearer {KEY[:-1]}"], [], "API_KEY_REFUSED"),
        ([f"Bearer {KEY}x"], [], "API_KEY_REFUSED"),
        ([f"Bearer {KEY[:-1]}_"], [], "API_KEY_REFUSED"),
        ([f"Bearer sk-{'j' + KEY[4:]}"], [], "API_KEY_REFUSED"),
    ],
)
def test_anything_else_is_refused(authorization, api_key, reason):
    """A mistyped key fails its checksum here, and asks nobody."""
    with pytest.raises(Unauthenticated) as caught:
        read_credential(authorization, api_key)

    assert caught.value.reason == reason


def test_credentials_do_not_show():
    """Neither a key nor a token is in a `repr`, where logs would find it."""
    assert KEY not in repr(ApiKey(KEY))
    assert "a.b.c" not in repr(PersonToken("a.b.c"))
