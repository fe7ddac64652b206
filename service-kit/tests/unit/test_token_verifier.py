"""What a verifier does with keys and denials over time."""

import pytest

from service_kit.errors import Unauthenticated, Unavailable
from service_kit.testing.clock import FixedClock
from service_kit.testing.tokens import TestIssuer
from service_kit.tokens import TokenVerifier


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def issuer(clock):
    return TestIssuer(clock=clock)


@pytest.fixture
async def verifier(issuer):
    return await issuer.verifier()


async def denied(verifier, token):
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason == "TOKEN_DENIED"
    return True


async def test_unready_before_the_first_load(issuer, clock):
    """A verifier that never loaded keys and denials answers nobody."""
    verifier = TokenVerifier("weir", ["weir"], issuer, clock=clock)

    assert not verifier.ready()
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.person_token())


async def test_unready_when_denials_are_old(issuer, verifier, clock):
    """After 15 s without a successful poll a verifier no longer vouches, not even from cache."""
    token = issuer.person_token()
    await verifier.verify(token)

    clock.advance(15)
    assert verifier.ready()
    clock.advance(0.1)

    assert not verifier.ready()
    with pytest.raises(Unavailable):
        await verifier.verify(token)


async def test_failed_poll_keeps_what_was_loaded(issuer, verifier, clock):
    """A poll that fails takes nothing away until it has failed for 15 s."""
    issuer.unavailable = True
    with pytest.raises(Unavailable):
        await verifier.refresh()
    clock.advance(10)

    assert (await verifier.verify(issuer.person_token())).user_id == "user-1"


@pytest.mark.parametrize(
    ("kind", "subject"), [("session", "session-1"), ("user", "user-1"), ("key", "key-1")]
)
async def test_denial_reaches_cached_tokens(issuer, verifier, kind, subject):
    """A token that was verified before its denial is refused after it."""
    token = issuer.key_token() if kind == "key" else issuer.person_token()
    await verifier.verify(token)

    issuer.deny(kind, subject)
    await verifier.refresh()

    assert await denied(verifier, token)


async def test_denial_hits_nobody_else(issuer, verifier):
    """Other sessions, users and keys go on."""
    issuer.deny("session", "session-2")
    issuer.deny("user", "user-2")
    issuer.deny("key", "session-1")
    issuer.deny("session", "key-1")
    await verifier.refresh()

    assert (await verifier.verify(issuer.person_token())).user_id == "user-1"
    assert (await verifier.verify(issuer.key_token())).key_id == "key-1"


async def test_user_denial_spares_later_tokens(issuer, verifier, clock):
    """After a denied user logs in again, the new token is good and the old one stays refused."""
    old = issuer.person_token()
    issuer.deny("user", "user-1")
    clock.advance(1)
    await verifier.refresh()

    assert await denied(verifier, old)
    assert (await verifier.verify(issuer.person_token())).user_id == "user-1"


async def test_later_user_denial_counts(issuer, verifier, clock):
    """Of two denials of one user the later one decides."""
    issuer.deny("user", "user-1")
    clock.advance(5)
    token = issuer.person_token()
    issuer.deny("user", "user-1")
    await verifier.refresh()

    assert await denied(verifier, token)


async def test_denials_are_called_back_once(issuer, verifier):
    """Who cached what a membership allowed hears of its end, once."""
    heard = []
    verifier.on_denial(heard.append)
    denial = issuer.deny("membership", "user-1:project-1")

    await verifier.refresh()
    await verifier.refresh()

    assert heard == [denial]
    assert (await verifier.verify(issuer.person_token())).user_id == "user-1"


async def test_long_lists_of_denials_are_read_to_the_end(issuer, verifier):
    """A source that gives denials in batches is asked until it has no more."""
    issuer.batch = 10
    for number in range(35):
        issuer.deny("session", f"gone-{number}")
    token = issuer.person_token(sid="gone-34")

    await verifier.refresh()

    assert await denied(verifier, token)


async def test_source_that_repeats_itself_does_not_hang_us(issuer, verifier):
    """Denials that we know already end the reading."""
    issuer.deny("session", "gone")
    issuer.repeats = True

    await verifier.refresh()

    assert verifier.ready()


async def test_rotated_key_verifies_to_its_end(issuer, verifier, clock):
    """X-A8: what the old key signed before it retired stays good; what it signs later does not."""
    old_key, old_kid = issuer.private_key, issuer.kid
    before = issuer.person_token()
    clock.advance(5)
    issuer.rotate("test-key-2")
    await verifier.refresh()
    after = issuer.person_token()
    clock.advance(60)
    await verifier.refresh()
    issuer.private_key, issuer.kid = old_key, old_kid
    forged = issuer.person_token()

    assert (await verifier.verify(before)).user_id == "user-1"
    assert (await verifier.verify(after)).user_id == "user-1"
    with pytest.raises(Unauthenticated):
        await verifier.verify(forged)


async def test_new_key_is_fetched_when_first_seen(issuer, verifier):
    """X-A8: a token signed with a key made a moment ago is good at once."""
    issuer.rotate("test-key-2")

    assert (await verifier.verify(issuer.person_token())).user_id == "user-1"


async def test_unknown_kids_cost_one_question(issuer, verifier, clock):
    """X-A8: a thousand unknown kids make us ask once, and once more after five seconds."""
    asked = issuer.times_asked
    stranger = TestIssuer(clock=clock)
    for number in range(1000):
        stranger.kid = f"stranger-{number}"
        with pytest.raises(Unauthenticated):
            await verifier.verify(stranger.person_token())
    assert issuer.times_asked == asked + 1

    clock.advance(5)
    with pytest.raises(Unauthenticated):
        await verifier.verify(stranger.person_token())
    assert issuer.times_asked == asked + 2


async def test_withdrawn_key_takes_cached_tokens_with_it(issuer, verifier):
    """A token verified a moment ago is refused once its key is no longer listed."""
    token = issuer.person_token()
    await verifier.verify(token)

    issuer.keys = []
    await verifier.refresh()

    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_cached_token_expires(issuer, verifier, clock):
    """A cached token is refused when its time is over."""
    token = issuer.person_token()
    await verifier.verify(token)
    clock.advance(931)
    await verifier.refresh()

    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason == "TOKEN_EXPIRED"


async def test_cache_is_used_and_bounded(issuer, verifier, monkeypatch):
    """A second look at a token checks no signature, and old tokens make room for new ones."""
    checked = []
    real = __import__("service_kit.tokens", fromlist=["x"]).check_signature

    def counting(token, key):
        checked.append(token)
        return real(token, key)

    monkeypatch.setattr("service_kit.tokens.check_signature", counting)
    monkeypatch.setattr("service_kit.tokens.MAX_CACHED", 2)
    first, second, third = (issuer.person_token(sid=f"s{number}") for number in range(3))

    for token in (first, second, first, third, first, second):
        await verifier.verify(token)

    assert checked == [first, second, third, second]


async def test_expired_denials_are_forgotten(issuer, verifier, clock):
    """Denials are kept no longer than the tokens they refuse."""
    for number in range(100):
        issuer.deny("session", f"gone-{number}")
    await verifier.refresh()
    assert verifier.denials_kept == 100

    clock.advance(3601)
    await verifier.refresh()

    assert verifier.denials_kept == 0


async def test_token_is_in_no_repr(issuer, verifier):
    """Who logs a caller does not log the token."""
    token = issuer.person_token()
    caller = await verifier.verify(token)

    assert caller.token == token
    assert token not in repr(caller)
