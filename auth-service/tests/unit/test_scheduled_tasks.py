"""What the service does by itself: when, in which steps, and who may look at it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.errors import AdministratorNeeded, PersonNeeded
from auth_service.domain.user import UserRole
from auth_service.usecases.archive_audit_entries import ArchiveAuditEntries
from auth_service.usecases.expire_sessions import ExpireSessions
from auth_service.usecases.list_scheduled_tasks import ListScheduledTasks
from auth_service.usecases.recount_sessions import RecountSessions
from service_kit.request_context import Caller

NOON = datetime(2026, 1, 2, 12, 3, 4, tzinfo=UTC)


def test_tasks_and_their_times(world):
    """C8: every 5 min, every hour, every 10 min, at 02:00."""
    schedules = {name: task.schedule for name, task in world.tasks.items()}

    assert {name: schedule.next_due(NOON) for name, schedule in schedules.items()} == {
        "expire_sessions": datetime(2026, 1, 2, 12, 5, tzinfo=UTC),
        "expire_denials": datetime(2026, 1, 2, 13, 0, tzinfo=UTC),
        "recount_sessions": datetime(2026, 1, 2, 12, 10, tzinfo=UTC),
        "archive_logs": datetime(2026, 1, 3, 2, 0, tzinfo=UTC),
    }


def test_times_are_settings(make_world):
    """Of each installation."""
    world = make_world(
        expire_sessions_seconds=60, recount_sessions_seconds=90, archive_logs_at="23:30"
    )
    schedules = {name: str(task.schedule) for name, task in world.tasks.items()}

    assert schedules == {
        "expire_sessions": "every 60 s",
        "expire_denials": "every 3600 s",
        "recount_sessions": "every 90 s",
        "archive_logs": "daily at 23:30 UTC",
    }


@pytest.mark.parametrize("people", [0, 1, 2, 3, 4])
async def test_batches_reach_everything(world, clock, people):
    """Whether the last batch is full, or not, or there is none."""
    for number in range(people):
        await world.registered(f"p{number}@example.org")
    work = world.parts.unit_of_work
    await RecountSessions(work, clock, batch=2)()
    assert list(work.database.session_counts.values()) == [1] * people

    clock.advance(timedelta(days=100).total_seconds())
    assert await ExpireSessions(work, clock, batch=2)() == people
    assert await ArchiveAuditEntries(work, clock, timedelta(days=90), batch=2)() == people
    assert (work.database.sessions, work.database.audit) == ({}, [])
    assert len(work.database.archive) == people


async def test_the_retention_is_a_setting(make_world, clock):
    """Of ten days here."""
    world = make_world(audit_retention_days=10)
    async with world.parts.unit_of_work() as work:
        for days in (9, 10, 11):
            at = clock.now() - timedelta(days=days)
            await work.audit.add(AuditEntry(AuditAction.LOGIN_FAILED, at, None, str(days)))

    await world.tasks["archive_logs"].run()

    assert [one.subject for one in world.parts.unit_of_work.database.archive] == ["11"]


@pytest.mark.parametrize("role", UserRole)
async def test_administrators_see_the_tasks(world, role):
    """Nobody else: what counts is what the account is now, not what the token says."""
    person = await world.person()
    users = world.parts.unit_of_work.database.users
    users[person.user_id] = replace(users[person.user_id], role=role)
    show = ListScheduledTasks(
        world.parts.unit_of_work, world.parts.runs, list(world.tasks.values())
    )

    for claimed in ("user", "super_admin"):
        caller = replace(person, role=claimed)
        if role in (UserRole.ADMIN, UserRole.SUPER_ADMIN):
            assert [status.task for status in await show(caller)] == list(world.tasks)
        else:
            with pytest.raises(AdministratorNeeded):
                await show(caller)


async def test_keys_do_not_see_the_tasks(world):
    """Not even an administrator's: a key belongs to one project."""
    person = await world.person()
    users = world.parts.unit_of_work.database.users
    users[person.user_id] = replace(users[person.user_id], role=UserRole.SUPER_ADMIN)
    key = Caller(person.user_id, "api_key", "super_admin", key_id="k1", project_id="p1")

    with pytest.raises(PersonNeeded):
        await ListScheduledTasks(world.parts.unit_of_work, world.parts.runs, [])(key)
