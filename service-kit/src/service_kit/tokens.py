"""Verifies access tokens. Closed by default: what a token does not state exactly is refused.

Keys and denials come from a `KeySource` (auth-service), polled every two
seconds. A verifier that could not poll for fifteen seconds verifies nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service_kit.clock import Clock, SystemClock
from service_kit.errors import Unauthenticated, Unavailable
from service_kit.request_context import Caller
from service_kit.token_format import Claims, check_signature, read_claims, read_header

STALE_SECONDS: Final = 15.0
REFETCH_SECONDS: Final = 5.0
MAX_CACHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that signs tokens, or did so until `retired_at`."""

    kid: str
    public_bytes: bytes
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """Tokens that stopped being good before their time.

    `subject` is a session id, key id or user id. For a user, tokens issued up
    to `denied_at` are refused. A membership ("user_id:project_id") refuses no
    token; who cached what it allowed drops that.
    """

    sequence: int
    kind: Literal["session", "user", "key", "membership"]
    subject: str
    denied_at: datetime
    expires_at: datetime


class KeySource(Protocol):
    """Where keys and denials come from."""

    async def list_keys(self) -> Sequence[PublicKey]:
        """Return every key of which tokens may still be alive."""
        ...

    async def list_denials(self, after_sequence: int) -> Sequence[Denial]:
        """Return the denials after a sequence number, in order; perhaps not all at once."""
        ...


class TokenVerifier:
    """Turns a token into its `Caller`, or refuses it.

    Args:
        issuer: The `iss` to expect.
        audiences: The `aud` values to accept.
        key_source: Where keys and denials come from.
        leeway_seconds: How far clocks may be apart.
        clock: Who tells the time.
    """

    def __init__(
        self,
        issuer: str,
        audiences: Collection[str],
        key_source: KeySource,
        *,
        leeway_seconds: float = 30,
        clock: Clock | None = None,
    ) -> None:
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._source = key_source
        self._leeway_seconds = leeway_seconds
        self._clock: Clock = clock or SystemClock()
        self._keys: dict[str, PublicKey] = {}
        self._denials = _Denials()
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()
        self._callbacks: list[Callable[[Denial], None]] = []
        self._last_success: float | None = None
        self._last_refetch: float | None = None
        self._refetching = asyncio.Lock()

    def ready(self) -> bool:
        """Tell whether keys and denials are loaded and at most 15 s old."""
        return (
            self._last_success is not None
            and self._clock.monotonic() - self._last_success <= STALE_SECONDS
        )

    @property
    def denials_kept(self) -> int:
        """How many denials are in force."""
        return len(self._denials)

    async def check_ready(self) -> bool:
        """Be `ready` in the form of a readiness check."""
        return self.ready()

    def on_denial(self, callback: Callable[[Denial], None]) -> None:
        """Call back for every denial that arrives from now on."""
        self._callbacks.append(callback)

    async def refresh(self) -> None:
        """Load keys and new denials. Run it every 2 s in a `PeriodicLoop`.

        Raises:
            ServiceError: The source could not be asked; what was loaded stays.
        """
        asked_at = self._clock.monotonic()
        await self._load_keys()
        while await self._load_denials():
            continue
        self._denials.forget_expired(self._clock.now())
        self._last_success = asked_at

    async def verify(self, token: str) -> Caller:
        """Return who the token speaks for.

        Raises:
            Unauthenticated: `TOKEN_INVALID`, `TOKEN_EXPIRED` or `TOKEN_DENIED`.
            Unavailable: Keys or denials are not loaded, or too old to rely on.
        """
        if not self.ready():
            raise Unavailable("token verification")
        claims = self._find_verified(token) or await self._verify_signed(token)
        now = self._clock.now().timestamp()
        claims.check_times(now, self._leeway_seconds)
        if self._denials.denies(claims):
            raise Unauthenticated("TOKEN_DENIED", "The token is no longer accepted.")
        return claims.caller

    def _find_verified(self, token: str) -> Claims | None:
        digest = _digest(token)
        found = self._verified.get(digest)
        if found is not None:
            self._verified.move_to_end(digest)
        return found

    async def _verify_signed(self, token: str) -> Claims:
        header = read_header(token)
        key = await self._key(header.kid)
        payload = check_signature(token, Ed25519PublicKey.from_public_bytes(key.public_bytes))
        claims = read_claims(payload, token, issuer=self._issuer, audiences=self._audiences)
        if key.retired_at and claims.issued_at > key.retired_at.timestamp() + self._leeway_seconds:
            raise Unauthenticated("TOKEN_INVALID", "The token's key was retired before it.")
        self._verified[_digest(token)] = claims
        while len(self._verified) > MAX_CACHED:
            self._verified.popitem(last=False)
        return claims

    async def _key(self, kid: str) -> PublicKey:
        if kid not in self._keys:
            await self._refetch()
        found = self._keys.get(kid)
        if found is None:
            raise Unauthenticated("TOKEN_INVALID", "The token's key is not known.")
        return found

    async def _refetch(self) -> None:
        """Ask for keys once more, but not often: unknown kids cost an attacker nothing."""
        async with self._refetching:
            now = self._clock.monotonic()
            if self._last_refetch is not None and now - self._last_refetch < REFETCH_SECONDS:
                return
            self._last_refetch = now
            await self._load_keys()

    async def _load_keys(self) -> None:
        keys = {key.kid: key for key in await self._source.list_keys()}
        if keys != self._keys:
            # A key that went may have been stolen: what it signed is looked at again.
            self._verified.clear()
            self._keys = keys

    async def _load_denials(self) -> bool:
        """Load one batch, and tell whether there may be more."""
        known = self._denials.last_sequence
        for denial in await self._source.list_denials(known):
            self._denials.add(denial)
            for callback in self._callbacks:
                callback(denial)
        return self._denials.last_sequence > known


class _Denials:
    """The denials that still matter."""

    def __init__(self) -> None:
        self.last_sequence = 0
        self._by_subject: dict[tuple[str, str], Denial] = {}

    def __len__(self) -> int:
        return len(self._by_subject)

    def add(self, denial: Denial) -> None:
        self.last_sequence = max(self.last_sequence, denial.sequence)
        if denial.kind == "membership":
            return
        known = self._by_subject.get((denial.kind, denial.subject))
        if known is None or known.denied_at <= denial.denied_at:
            self._by_subject[denial.kind, denial.subject] = denial

    def denies(self, claims: Claims) -> bool:
        caller = claims.caller
        if ("session", caller.session_id) in self._by_subject:
            return True
        if ("key", caller.key_id) in self._by_subject:
            return True
        user = self._by_subject.get(("user", caller.user_id))
        return user is not None and claims.issued_at <= user.denied_at.timestamp()

    def forget_expired(self, now: datetime) -> None:
        for subject in [key for key, one in self._by_subject.items() if one.expires_at < now]:
            del self._by_subject[subject]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
