"""Breakers that routers share through Redis; each router has one of its own while Redis is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from compute_router.domain.breaker import Breaker, BreakerRules, Outcome, Permit
from compute_router.usecases.local_breaker import LocalBreaker
from compute_router.usecases.ports import BreakerView
from service_kit.clock import Clock
from service_kit.errors import Unavailable
from service_kit.ids import new_id
from service_kit.redis_client import redis_errors

log = structlog.get_logger(__name__)

PREFIX: Final = "router:breaker:"

# The rules of `domain/breaker.py` by Redis's clock; the conformance suite holds both to one word.
# KEYS: the target's hash. ARGV: verb, probe id, outcome, wait in ms, failures, window ms, open ms,
# probe ms. Returns {permit: 0 none, 1 a call, 2 the probe; the state as the reader needs it}.
_SCRIPT: Final = """
local verb, probe, outcome, wait = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, window, open = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'failed_at', 'open_until', 'probe', 'probe_until',
  'wait_until')
local failed = {}
for at in string.gmatch(kept[1] or '', '%d+') do
  if tonumber(at) > now - window then failed[#failed + 1] = tonumber(at) end
end
local open_until = tonumber(kept[2] or '')
local probed, probe_until = kept[3] or '', tonumber(kept[4] or '0')
local wait_until = tonumber(kept[5] or '0')
-- Whoever comes back to Redis has to see that it can be written to.
local permit, changed = 0, verb == 'return'

local function fail()
  failed, open_until, probed, probe_until = {}, now + open, '', 0
end

if verb == 'admit' and now >= wait_until then
  if not open_until then
    permit = 1
  elseif now >= open_until and (probed == '' or now >= probe_until) then
    permit, changed = 2, true
    probed, probe_until = probe, now + tonumber(ARGV[8])
  end
elseif verb == 'record' then
  changed = true
  if not open_until then
    if outcome == 'sick' then
      failed[#failed + 1] = now
      if #failed >= most then fail() end
    end
  elseif probe ~= '' and probe == probed then
    if outcome == 'well' then
      failed, open_until = {}, nil
    elseif outcome == 'sick' then
      fail()
    end
    probed = ''
  end
  if wait > 0 then wait_until = math.max(wait_until, now + wait) end
end

if changed then
  local function text(number) return string.format('%d', number) end
  local ats = {}
  for i, at in ipairs(failed) do ats[i] = text(at) end
  redis.call('HSET', KEYS[1], 'failed_at', table.concat(ats, ' '),
    'open_until', open_until and text(open_until) or '', 'probe', probed,
    'probe_until', text(probe_until), 'wait_until', text(wait_until))
  -- Long after it has anything to say: nobody has asked since.
  local last = math.max(now + window, open_until or 0, probe_until, wait_until)
  redis.call('PEXPIRE', KEYS[1], text(last - now + 3600000))
end

local reply = {permit, open_until and 1 or 0, (open_until or now) - now, probed, probe_until - now,
  wait_until - now}
for _, at in ipairs(failed) do reply[#reply + 1] = now - at end
return reply
"""


class RedisBreaker:
    """Implements `CircuitBreaker`. The last word of Redis is known here, and goes on without it."""

    def __init__(self, redis: Redis, target: str, rules: BreakerRules, clock: Clock) -> None:
        self._script = redis.register_script(_SCRIPT)
        self._key = PREFIX + target
        self._rules = rules
        self._local = LocalBreaker(rules, clock)
        self._away = False

    def view(self) -> BreakerView:
        return self._local.view()

    async def admit(self) -> Permit | None:
        probe = new_id()
        # While Redis is known to be away, nobody waits for it but `read`.
        granted = None
        if not self._away:
            try:
                granted = await self._run("admit", probe=probe)
            except asyncio.CancelledError:
                # Redis may have made it the probe already: nobody else could try for long.
                await self._run("record", probe, Outcome.UNKNOWN)
                raise
        if granted is None:
            return await self._local.admit()
        return (None, Permit(), Permit(probe))[granted]

    async def record(self, permit: Permit, outcome: Outcome, wait: timedelta | None) -> None:
        milliseconds = 0 if wait is None else int(wait.total_seconds() * 1000)
        done = None
        if not self._away:
            done = await self._run("record", permit.probe, outcome, milliseconds)
        if done is None:
            await self._local.record(permit, outcome, wait)

    async def read(self) -> None:
        """Learn how the breaker stands in Redis; repeat it, so that `view` is up to date."""
        await self._run("return" if self._away else "read")

    async def _run(
        self, verb: str, probe: str = "", outcome: str = "", wait_milliseconds: int = 0
    ) -> int | None:
        """Run the script; `None` says that Redis is away, or refuses.

        It takes no longer than a command may.
        """
        rules = self._rules
        seconds = (rules.window_seconds, rules.open_seconds, rules.probe_seconds)
        arguments: list[str | int] = [verb, probe, outcome, wait_milliseconds, rules.failures]
        try:
            with redis_errors():
                granted, *reply = await self._script(
                    keys=[self._key], args=[*arguments, *(int(s * 1000) for s in seconds)]
                )
        except (Unavailable, RedisError) as error:
            # An error reply too (OOM, MISCONF, NOPERM): no trouble of Redis may end a call.
            if not self._away:
                log.warning("breaker.redis_away", reason=type(error.__cause__ or error).__name__)
            self._away = True
            return None
        self._away = False
        self._local.breaker = self._breaker(reply)
        return int(granted)

    def _breaker(self, reply: list[int | str]) -> Breaker:
        """Return the breaker of a reply, whose times are milliseconds from now."""
        is_open, open_ms, probe, probe_ms, wait_ms, *ages_ms = reply
        now = self._local.now
        return Breaker(
            self._rules,
            failed_at=tuple(now - int(age) / 1000 for age in ages_ms),
            open_until=now + int(open_ms) / 1000 if is_open else None,
            probe=str(probe),
            probe_until=now + int(probe_ms) / 1000,
            wait_until=now + int(wait_ms) / 1000,
        )
