"""What the service does by itself, on real Postgres, also while people use it (C8)."""

import asyncio
import random
from datetime import timedelta
from uuid import uuid4

import pytest

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.denial import DenialKind, deny
from auth_service.domain.errors import RefreshTokenRefused
from auth_service.usecases.archive_audit_entries import ArchiveAuditEntries
from auth_service.usecases.expire_denials import ExpireDenials
from auth_service.usecases.expire_sessions import ExpireSessions
from auth_service.usecases.recount_sessions import RecountSessions

RETENTION = timedelta(days=90)
WHOLE_LOG = """
    SELECT entry_id::text, occurred_at, action, user_id::text, subject, request_id
    FROM audit_entries UNION ALL
    SELECT entry_id::text, occurred_at, action, user_id::text, subject, request_id
    FROM audit_archive ORDER BY 1
"""


async def write_entries(world, clock, ages):
    """Write an entry of each age, in days."""
    async with world.parts.unit_of_work() as work:
        for age in ages:
            await work.audit.add(
                AuditEntry(
                    AuditAction.LOGIN_FAILED,
                    clock.now() - timedelta(days=age),
                    random.choice([None, str(uuid4())]),
                    subject=str(age),
                )
            )


async def denied(world, clock, subject, token_life):
    """Deny a session whose tokens live that long."""
    async with world.parts.unit_of_work() as work:
        await work.denials.add(deny(DenialKind.SESSION, subject, clock.now(), token_life))


class TestExpireSessions:
    async def test_who_is_late_logs_in_again(self, world, clock, rows, password):
        """Sessions past their end are gone; the others go on."""
        _, late = await world.registered()
        clock.advance(world.settings.session_life.total_seconds() - 60)
        _, fresh = await world.auth.log_in("ann", password)
        clock.advance(60)

        await world.tasks["expire_sessions"].run()

        assert await rows("SELECT count(*) FROM sessions") == [(1,)]
        await world.auth.refresh_tokens(fresh.refresh_token)
        with pytest.raises(RefreshTokenRefused):
            await world.auth.refresh_tokens(late.refresh_token)

    async def test_a_session_that_is_being_refreshed_is_left_alone(self, world, clock, rows):
        """It is not waited for, which would end in `Unavailable` here, and it lives on."""
        await world.registered()
        await world.registered("ben@example.org")
        ((kept, _), _) = await rows("SELECT session_id::text, user_id FROM sessions")
        clock.advance(world.settings.session_life.total_seconds())
        async with world.parts.unit_of_work() as work:
            session = await work.sessions.find_for_update(kept)
            await world.tasks["expire_sessions"].run()
            mint, life = world.auth.refresh_tokens.mint, world.settings.session_life
            await work.sessions.save(session.rotated(mint, clock.now(), life))
        await world.tasks["expire_sessions"].run()

        assert await rows("SELECT session_id::text FROM sessions") == [(kept,)]

    async def test_replicas_at_once_delete_each_session_once(self, world, clock, rows):
        """In batches, none waiting for another."""
        for number in range(12):
            await world.registered(f"p{number}@example.org")
        clock.advance(world.settings.session_life.total_seconds())
        expire = ExpireSessions(world.parts.unit_of_work, clock, batch=2)

        deleted = await asyncio.gather(*(expire() for _ in range(4)))

        assert sum(deleted) == 12
        assert await rows("SELECT count(*) FROM sessions") == [(0,)]


class TestExpireDenials:
    async def test_no_reader_misses_one(self, world, clock, rows):
        """Who starts later is told the same as before; only what nobody was told goes."""
        await denied(world, clock, "old", timedelta(hours=1))
        clock.advance(timedelta(hours=2).total_seconds())
        await denied(world, clock, "ended", timedelta(minutes=1))
        clock.advance(timedelta(hours=23, minutes=30).total_seconds())
        await denied(world, clock, "needed", timedelta(minutes=15))
        told = await world.list_denials(0)
        assert [one.subject for one in told] == ["needed"]

        await world.tasks["expire_denials"].run()

        assert await world.list_denials(0) == told
        assert await rows("SELECT subject FROM denials ORDER BY 1") == [("ended",), ("needed",)]

    async def test_replicas_at_once_delete_each_denial_once(self, world, clock, rows):
        """In batches, none waiting for another, while new ones come."""
        for number in range(12):
            await denied(world, clock, f"old {number}", timedelta(minutes=1))
        [last] = (await world.list_denials(0))[-1:]
        clock.advance(timedelta(days=2).total_seconds())
        expire = ExpireDenials(world.parts.unit_of_work, clock, batch=2)

        *deleted, _ = await asyncio.gather(
            *(expire() for _ in range(4)), denied(world, clock, "new", timedelta(minutes=1))
        )

        assert sum(deleted) == 12
        assert [one.subject for one in await world.list_denials(last.sequence)] == ["new"]
        assert await rows("SELECT count(*) FROM denials") == [(1,)]


class TestRecountSessions:
    async def test_everybody_has_the_figure_of_now(self, world, clock, rows, password):
        """Neither revoked nor expired sessions; those without any have none; batch after batch."""
        for name, logins in (("ann", 2), ("ben", 0), ("cat", 1)):
            await world.registered(f"{name}@example.org")
            clock.advance(1)
            for _ in range(logins):
                await world.auth.log_in(name, password)
        # What was opened at the registrations is over, what came later is not.
        for session_id, _ in await rows(
            "SELECT session_id::text, users.user_id FROM sessions"
            " JOIN users USING (user_id, created_at)"
        ):
            async with world.parts.unit_of_work() as work:
                session = await work.sessions.find_for_update(session_id)
                await work.sessions.save(session.revoked(clock.now()))
        recount = RecountSessions(world.parts.unit_of_work, clock, batch=2)
        await recount()
        assert await counts(rows) == [("ann", 2), ("ben", 0), ("cat", 1)]

        clock.advance(world.settings.session_life.total_seconds())
        await world.tasks["recount_sessions"].run()
        assert await counts(rows) == [("ann", 0), ("ben", 0), ("cat", 0)]

    async def test_it_agrees_with_the_account_while_people_log_in(self, world, rows, password):
        """What was counted too early is right after the next time."""
        await world.registered()
        recount = world.tasks["recount_sessions"].run

        await asyncio.gather(
            *(world.auth.log_in("ann", password) for _ in range(10)), *(recount() for _ in range(5))
        )
        await recount()

        account, _ = await world.auth.log_in("ann", password)
        assert await counts(rows) == [("ann", account.active_sessions_count - 1)] == [("ann", 11)]


class TestArchiveLogs:
    async def test_what_is_older_than_the_retention_moves(self, world, clock, rows):
        """To the day, whole, and the newer entries stay."""
        await write_entries(world, clock, [89, 90, 91, 400])
        before = await rows(WHOLE_LOG)
        clock.advance(1)

        await world.tasks["archive_logs"].run()

        assert await rows(WHOLE_LOG) == before
        assert await rows("SELECT subject FROM audit_entries") == [("89",)]
        archived = await rows("SELECT subject FROM audit_archive ORDER BY occurred_at")
        assert archived == [("400",), ("91",), ("90",)]

    async def test_replicas_at_once_lose_and_double_nothing(self, world, clock, rows):
        """While entries are written, each one is in one place when all is done."""
        await write_entries(world, clock, range(91, 151))
        before = await rows(WHOLE_LOG)
        archive = ArchiveAuditEntries(world.parts.unit_of_work, clock, RETENTION, batch=7)

        moved = await asyncio.gather(
            *(archive() for _ in range(4)),
            *(write_entries(world, clock, range(1, 3)) for _ in range(3)),
        )
        await archive()

        assert sum(filter(None, moved)) <= 60
        log = await rows(WHOLE_LOG)
        assert len({entry.entry_id for entry in log}) == len(log) == 66
        assert set(before) <= set(log)
        assert await rows("SELECT count(*) FROM audit_archive") == [(60,)]

    async def test_a_batch_that_fails_stays_where_it_was(self, world, clock, rows):
        """Both halves of a move, or none."""
        await write_entries(world, clock, [100, 101])

        async def fail_late():
            async with world.parts.unit_of_work() as work:
                assert await work.audit.archive(clock.now(), 10) == 2
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail_late()

        assert await rows("SELECT count(*) FROM audit_entries") == [(2,)]
        assert await rows("SELECT count(*) FROM audit_archive") == [(0,)]


async def counts(rows):
    return await rows("SELECT username, active_sessions_count FROM users ORDER BY username")
