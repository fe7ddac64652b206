"""Show a person their own account."""

from __future__ import annotations

from dataclasses import dataclass

from auth_service.domain.errors import UserNotFound
from auth_service.domain.user import Account
from auth_service.usecases.load_account import load_account
from auth_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class GetCurrentUser:
    """Returns the account that a token speaks for."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, user_id: str) -> Account:
        """Return the account.

        Raises:
            UserNotFound: The account is gone.
        """
        async with self.unit_of_work() as work:
            user = await work.users.find(user_id)
            if user is None:
                raise UserNotFound(user_id)
            return await load_account(work, user, self.clock.now())
