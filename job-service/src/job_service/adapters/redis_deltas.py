"""Answers of running jobs in Redis: a stream for each job, whose ids are `attempt-number`.

Redis itself refuses an id that is not above the last one, and the id is the reader's position.
Values are people's answers: they are in no log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from job_service.domain.answer import Entry
from job_service.usecases.event_ports import DeltaBatch, DeltaPosition, DeltaWrite
from service_kit.redis_client import RedisUnavailable, redis_errors

log = structlog.get_logger(__name__)

# Which jobs have new deltas, and which have new lifecycle events.
TOLD: Final = "weir:jobs:told"
CHANGED: Final = "weir:jobs:changed"
LISTEN_SECONDS: Final = 5.0
_GREATEST: Final = 2**64 - 1

# KEYS: the stream. ARGV: attempt, the number before the first text, seconds to keep it, then the
# texts (or one whole answer).
_TOP: Final = """
local attempt = tonumber(ARGV[1])
local number = tonumber(ARGV[2])
local top_attempt, top_number = 0, 0
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if top then
  local a, n = string.match(top[1], '^(%d+)-(%d+)$')
  top_attempt, top_number = tonumber(a), tonumber(n)
end
if top_attempt > attempt then return 'superseded' end
"""
_APPEND: Final = (
    _TOP
    + """
if top_attempt < attempt then
  redis.call('DEL', KEYS[1])
  top_number = 0
end
if top_number < number or top_number > number + #ARGV - 3 then return 'wiped' end
for i = 4, #ARGV do
  number = number + 1
  if number > top_number then
    redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. number, 't', ARGV[i])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 'written'
"""
)
_REPLACE: Final = (
    _TOP
    + """
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. (number + 1), 's', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 'written'
"""
)


def stream_of(job_id: str) -> str:
    return f"weir:job:{job_id}:deltas"


class RedisDeltas:
    """The port `DeltaStore`.

    Args:
        client: With short time limits: whoever waits for it has something better to do.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def write(
        self, batches: Sequence[DeltaBatch], changed: Collection[str]
    ) -> Sequence[DeltaWrite]:
        with _away():
            async with self._client.pipeline(transaction=False) as pipeline:
                for batch in batches:
                    script = _REPLACE if batch.is_snapshot else _APPEND
                    pipeline.eval(
                        script,
                        1,
                        stream_of(batch.job_id),
                        str(batch.attempt),
                        str(batch.after),
                        str(batch.keep_seconds),
                        *batch.texts,
                    )
                told = {batch.job_id for batch in batches if batch.texts}
                for channel, job_ids in ((TOLD, told), (CHANGED, changed)):
                    if job_ids:
                        pipeline.publish(channel, " ".join(job_ids))
                replies = await pipeline.execute()
        return [DeltaWrite(reply) for reply in replies[: len(batches)]]

    async def read(
        self, positions: Sequence[DeltaPosition], limit: int
    ) -> Sequence[Sequence[Entry]]:
        if not positions:
            return []
        with _away():
            async with self._client.pipeline(transaction=False) as pipeline:
                for position in positions:
                    pipeline.xrange(
                        stream_of(position.job_id),
                        min=f"({position.attempt}-{position.number}",
                        max=f"{position.attempt}-{_GREATEST}",
                        count=limit,
                    )
                replies = await pipeline.execute()
        return [[_entry(item) for item in reply] for reply in replies]


class RedisChanges:
    """Hears which jobs have something new, in any replica.

    Args:
        client: A client whose reads may wait for `LISTEN_SECONDS` and more.
        on_told: Called with jobs that have new deltas.
        on_changed: Called with jobs that have new lifecycle events.
    """

    def __init__(
        self,
        client: Redis,
        on_told: Callable[[Collection[str]], None],
        on_changed: Callable[[Collection[str]], None],
    ) -> None:
        self._client = client
        self._heard = {TOLD: on_told, CHANGED: on_changed}
        self.is_listening = asyncio.Event()

    async def listen(self) -> None:
        """Pass on what is said for as long as Redis is there.

        Raises:
            RedisUnavailable: It went away.
        """
        try:
            async with self._client.pubsub() as subscription:
                with redis_errors():
                    await subscription.subscribe(TOLD, CHANGED)
                    self.is_listening.set()
                    while True:
                        message = await subscription.get_message(
                            ignore_subscribe_messages=True, timeout=LISTEN_SECONDS
                        )
                        if message is not None:
                            self._heard[message["channel"]](message["data"].split())
        finally:
            self.is_listening.clear()


def _entry(item: tuple[str, dict[str, Any]]) -> Entry:
    identifier, fields = item
    number = int(identifier.partition("-")[2])
    is_snapshot = "s" in fields
    return Entry(number, fields["s" if is_snapshot else "t"], is_snapshot)


@contextmanager
def _away() -> Iterator[None]:
    """Take every error for an absence: deltas are never worth a failed job.

    The cause stays here, since it may quote what was written.
    """
    try:
        yield
    except ResponseError as error:
        # The first word is Redis' code for what is wrong.
        log.error("deltas.refused", error=str(error).partition(" ")[0])
        raise RedisUnavailable() from None
    except (RedisError, OSError):
        raise RedisUnavailable() from None
