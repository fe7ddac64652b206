"""Locks that hold until the transaction ends, by purpose."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

# Apart from the locks of migrations, which use another key space.
_NAMESPACE = 0x61757468


class Lock(IntEnum):
    """What at most one transaction does at a time."""

    DENIAL_SEQUENCE = 1
    FIRST_ADMINISTRATOR = 2


async def take(session: AsyncSession, lock: Lock) -> None:
    """Wait for the lock and keep it until the transaction is over, and visible if committed."""
    await session.execute(select(func.pg_advisory_xact_lock(_NAMESPACE, int(lock))))
