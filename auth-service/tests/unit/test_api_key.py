"""The form of an API key, and what the text alone tells."""

import random
import re
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auth_service.domain.api_key import ApiKey, hash_secret, is_well_formed, new_secret
from auth_service.domain.permissions import ApiKeyScope

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = ApiKey("k1", "u1", "p1", "ci", "sk-abc", (ApiKeyScope.READ,), NOW)


def test_a_new_secret_has_the_form():
    """`sk-`, 43 characters of chance, 6 of checksum; two are never alike."""
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(re.fullmatch(r"sk-[0-9A-Za-z]{49}", secret) for secret in secrets)
    assert all(is_well_formed(secret) for secret in secrets)


def test_every_single_typo_is_noticed():
    """A changed character anywhere breaks the checksum."""
    secret = new_secret()
    for place in range(3, len(secret)):
        typo = "A" if secret[place] != "A" else "B"
        assert not is_well_formed(secret[:place] + typo + secret[place + 1 :])


def test_guesses_are_refused_offline():
    """A hundred thousand random keys of the right form: none passes (seed 1)."""
    chance = random.Random(1)
    alphabet = string.digits + string.ascii_letters
    guesses = ("sk-" + "".join(chance.choices(alphabet, k=49)) for _ in range(100_000))

    assert not any(is_well_formed(guess) for guess in guesses)


@pytest.mark.parametrize(
    "text", ["", "sk-", "sk-abc", "pk-" + "a" * 49, "sk-" + "ü" * 49, "sk-" + "a" * 1_000_000]
)
def test_other_texts_are_no_keys(text):
    """Neither the empty text nor a megabyte raises anything."""
    assert not is_well_formed(text)


def test_the_hash_is_sha256():
    """What is kept has 32 bytes and is the same for the same key."""
    secret = new_secret()

    assert len(hash_secret(secret)) == 32
    assert hash_secret(secret) == hash_secret(secret)


def test_a_key_ends_at_its_time():
    """Until then it is usable, from then on it is not; a deleted one never."""
    mortal = replace(KEY, expires_at=NOW + timedelta(hours=1))

    assert mortal.is_usable(NOW + timedelta(minutes=59))
    assert not mortal.is_usable(NOW + timedelta(hours=1))
    assert not KEY.deleted(NOW).is_usable(NOW)
    assert KEY.is_usable(NOW + timedelta(days=10_000))


def test_the_first_deletion_counts():
    """Deleting again does not move the time."""
    assert KEY.deleted(NOW).deleted(NOW + timedelta(hours=1)).deleted_at == NOW
