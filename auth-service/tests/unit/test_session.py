"""A family of refresh tokens: which token means what (X-A6)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from auth_service.domain.refresh_token import RefreshTokenMint, parse_refresh_token
from auth_service.domain.session import Session, Verdict
from service_kit.ids import new_id

MINT = RefreshTokenMint(b"one secret of thirty-two characters")
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LIFE = timedelta(days=7)


@pytest.fixture
def session():
    return Session.opened(new_id(), "u1", MINT, START, LIFE)


def later(seconds):
    return START + timedelta(seconds=seconds)


def test_a_token_survives_its_text(session):
    """What the text says is what was put in, to the microsecond."""
    token = session.current_token(MINT)

    assert parse_refresh_token(token.text) == token
    assert (token.session_id, token.counter, token.issued_at) == (session.session_id, 0, START)


def test_the_newest_token_is_current(session):
    """The token that was given last is to be replaced."""
    assert session.judge(session.current_token(MINT), MINT, later(3600)) is Verdict.CURRENT


def test_one_behind_gets_the_same_current_token_at_any_age(session):
    """A reply got lost: the client comes back with the token before, even days later."""
    first = session.current_token(MINT)
    session = session.rotated(MINT, later(3600), LIFE)

    assert session.judge(first, MINT, later(500_000)) is Verdict.BEHIND
    assert session.current_token(MINT) == session.current_token(MINT)
    assert session.current_token(MINT).counter == 1


def test_two_behind_is_reuse(session):
    """A token that was replaced twice was copied by somebody."""
    first = session.current_token(MINT)
    session = session.rotated(MINT, later(60), LIFE).rotated(MINT, later(120), LIFE)

    assert session.judge(first, MINT, later(121)) is Verdict.REUSED


def test_two_behind_within_ten_seconds_is_not(session):
    """Tabs that refresh at once are no theft, until the token is ten seconds old."""
    first = session.current_token(MINT)
    session = session.rotated(MINT, later(1), LIFE).rotated(MINT, later(2), LIFE)

    assert session.judge(first, MINT, later(9.99)) is Verdict.BEHIND
    assert session.judge(first, MINT, later(10)) is Verdict.REUSED


def test_a_forged_old_token_closes_nobodys_session(session):
    """Who knows a session id, but not the secret, can't have the session revoked."""
    first = session.current_token(MINT)
    session = session.rotated(MINT, later(60), LIFE).rotated(MINT, later(120), LIFE)
    forged = replace(first, proof=bytes(32))
    young = replace(first, issued_at=later(3600))

    assert session.judge(forged, MINT, later(3600)) is Verdict.REFUSED
    assert session.judge(young, MINT, later(3600)) is Verdict.REFUSED


@pytest.mark.parametrize("seconds", [LIFE.total_seconds(), LIFE.total_seconds() + 1])
def test_an_expired_session_refuses_its_token(session, seconds):
    """At the end of its life, and after."""
    assert session.judge(session.current_token(MINT), MINT, later(seconds)) is Verdict.REFUSED


def test_a_revoked_session_refuses_its_token(session):
    """Revoked is over, also for the newest token."""
    revoked = session.revoked(later(1))

    assert revoked.judge(session.current_token(MINT), MINT, later(2)) is Verdict.REFUSED
    assert revoked.revoked(later(9)).revoked_at == later(1)


def test_a_rotation_renews_the_life(session):
    """A session in use stays open."""
    assert session.rotated(MINT, later(3600), LIFE).expires_at == later(3600) + LIFE


def test_another_secret_still_knows_the_newest_token(session):
    """Changing REFRESH_TOKEN_SECRET logs nobody out: hashes tell the last two tokens."""
    newer = RefreshTokenMint(b"another secret of thirty-two chars.")
    first = session.current_token(MINT)
    rotated = session.rotated(MINT, later(60), LIFE)

    assert session.judge(first, newer, later(60)) is Verdict.CURRENT
    assert rotated.judge(first, newer, later(3600)) is Verdict.BEHIND
    assert rotated.current_token(newer) is None


def test_the_secret_alone_makes_no_token(session):
    """Without the session's seed, the secret and a session id are not enough."""
    guess = MINT.token(session.session_id, bytes(32), 0, START)

    assert session.judge(guess, MINT, later(1)) is Verdict.REFUSED


@pytest.mark.parametrize("change", ["", "x", "=", "\n"])
def test_other_spellings_are_no_tokens(session, change):
    """A token has one spelling; padding and additions make it none."""
    text = session.current_token(MINT).text

    assert parse_refresh_token(text[:-1] + change if change != "x" else text + "x") is None
    assert parse_refresh_token("wr2_" + text[4:]) is None
    assert parse_refresh_token("wr1_" + "ü" * (len(text) - 4)) is None
    assert parse_refresh_token("wr1_" + "_" * (len(text) - 4)) is None


class RefreshFamily(RuleBasedStateMachine):
    """Whatever clients and thieves present, in any order and at any time."""

    def __init__(self):
        super().__init__()
        self.now = START
        self.session = Session.opened(new_id(), "u1", MINT, START, LIFE)
        self.given = [self.session.current_token(MINT)]

    @rule(seconds=st.sampled_from([0, 1, 9, 10, 3600, 200_000]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(data=st.data())
    def present(self, data):
        token = data.draw(st.sampled_from(self.given))
        open_before = self.session.is_active(self.now)
        verdict = self.session.judge(token, MINT, self.now)
        behind = self.session.counter - token.counter
        young = self.now - token.issued_at < timedelta(seconds=10)
        if not open_before:
            assert verdict is Verdict.REFUSED
        elif behind == 0:
            assert verdict is Verdict.CURRENT
            self.session = self.session.rotated(MINT, self.now, LIFE)
            self.given.append(self.session.current_token(MINT))
        elif behind == 1 or young:
            assert verdict is Verdict.BEHIND
            assert self.session.current_token(MINT) == self.given[-1]
        else:
            assert verdict is Verdict.REUSED
            self.session = self.session.revoked(self.now)

    @invariant()
    def tokens_are_all_different(self):
        assert len({token.text for token in self.given}) == len(self.given)


TestRefreshFamily = RefreshFamily.TestCase
TestRefreshFamily.settings = hypothesis_settings(max_examples=60, deadline=None)
