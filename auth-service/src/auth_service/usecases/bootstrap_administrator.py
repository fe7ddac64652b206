"""Give a new installation its first administrator."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.domain.user import User, UserRole
from auth_service.usecases.create_account import create_account
from auth_service.usecases.ports import PasswordHasher, UnitOfWorkFactory
from service_kit.clock import Clock
from service_kit.ids import new_id

ADMIN_USERNAME = "admin"
# No stranger can register it: an address needs a dot after the @.
ADMIN_EMAIL = "admin@localhost"


@dataclass(frozen=True, slots=True)
class BootstrapAdministrator:
    """Creates the account `admin` where nobody administers yet."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    policy: PasswordPolicy

    async def __call__(self, password: str) -> bool:
        """Return whether the account was made now. Replicas that start at once make one.

        Raises:
            PasswordRefused: The password breaks a rule.
        """
        async with self.unit_of_work() as work:
            if await work.users.has_administrator():
                return False
        self.policy.check(password)
        # Hashed outside a transaction: nothing waits for it with a lock in hand.
        password_hash = await self.hasher.hash(password)
        now = self.clock.now()
        user = User(
            user_id=new_id(),
            email=ADMIN_EMAIL,
            username=ADMIN_USERNAME,
            full_name="Administrator",
            password_hash=password_hash,
            role=UserRole.SUPER_ADMIN,
            created_at=now,
        )
        async with self.unit_of_work() as work:
            if await work.users.has_administrator():
                return False
            await create_account(work, user, now)
            await work.audit.add(AuditEntry(AuditAction.ADMIN_BOOTSTRAPPED, now, user.user_id))
        return True
