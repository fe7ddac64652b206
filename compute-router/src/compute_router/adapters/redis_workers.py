"""The registry of workers in Redis: one hash, whose fields expire by Redis's own clock.

Redis may be wiped at any moment: workers are back with their next beat.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from compute_router.domain.operation import Operation
from compute_router.domain.target import Model
from compute_router.domain.worker import Worker
from compute_router.usecases.ports import StoredWorker
from service_kit.errors import InvalidArgument
from service_kit.redis_client import redis_errors

log = structlog.get_logger(__name__)

KEY: Final = "router:workers"

# KEYS: the hash. ARGV: worker id, worker as JSON, lease in milliseconds.
_SAVE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now + ARGV[3], ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3], redis.call('PTTL', KEYS[1]) > 0 and 'GT' or 'NX')
return 1
"""

# KEYS: the hash. Returns the workers with the milliseconds that are left to them.
_LIST: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, worker = string.match(all[i + 1], '^(%d+) (.*)$')
  local left = at and tonumber(at) - now or 0
  if left > 0 then
    found[#found + 1] = {left, worker}
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return found
"""


class RedisWorkers:
    """Implements `WorkerStore`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._save = redis.register_script(_SAVE)
        self._list = redis.register_script(_LIST)

    async def save(self, worker: Worker, lease: timedelta) -> None:
        milliseconds = int(lease.total_seconds() * 1000)
        with redis_errors():
            await self._save(keys=[KEY], args=[worker.worker_id, to_json(worker), milliseconds])

    async def remove(self, worker_id: str) -> None:
        with redis_errors():
            await self._redis.hdel(KEY, worker_id)

    async def list(self) -> list[StoredWorker]:
        with redis_errors():
            found = await self._list(keys=[KEY])
        stored = []
        for milliseconds, text in found:
            try:
                worker = from_json(text)
            except (ValueError, TypeError, KeyError, InvalidArgument):
                # Written by another release of this service: its worker comes again by itself.
                log.warning("registry.unreadable_worker")
                continue
            stored.append(StoredWorker(worker, timedelta(milliseconds=milliseconds)))
        return stored


def to_json(worker: Worker) -> str:
    """Write a worker as the registry keeps it."""
    return json.dumps(dataclasses.asdict(worker), separators=(",", ":"))


def from_json(text: str) -> Worker:
    """Read what `to_json` wrote.

    Raises:
        ValueError, TypeError, KeyError, InvalidArgument: It is something else.
    """
    fields: dict[str, Any] = json.loads(text)
    models = tuple(_model(model) for model in fields.pop("models"))
    return Worker(models=models, **fields)


def _model(fields: dict[str, Any]) -> Model:
    operations = fields.pop("operations", (Operation.CHAT,))
    return Model(**fields, operations=tuple(Operation(name) for name in operations))
