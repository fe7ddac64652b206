"""Create an API key of a project."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from auth_service.domain.api_key import PREFIX_CHARACTERS, ApiKey, hash_secret, new_secret
from auth_service.domain.audit import AuditAction, AuditEntry
from auth_service.domain.permissions import ApiKeyScope, Permission
from auth_service.domain.project import parse_name
from auth_service.domain.request_key import parse_request_id
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.project_access import require
from auth_service.usecases.team_access import require_person
from service_kit.clock import Clock
from service_kit.errors import InvalidArgument
from service_kit.ids import new_id
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """What is asked for. No scopes means `read`, no `expires_at` means never."""

    name: str
    project_id: str = ""
    scopes: Collection[ApiKeyScope] = ()
    expires_at: datetime | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CreatedApiKey:
    """A key and its secret, which nobody can show again; "" when it was made before."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CreateApiKey:
    """Stores the hash of a new key and gives its secret out, once."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, caller: Caller, wanted: NewApiKey) -> CreatedApiKey:
        """Return the key with its secret.

        A key makes no keys: the new one would have none of the caps that its maker is held to.

        Raises:
            PersonNeeded: The caller is an API key.
            InvalidArgument: The name, the end of its life or the request id is malformed.
            ProjectNotFound: The project is not the caller's.
            PermissionDenied: The caller may not make keys there.
        """
        require_person(caller, "create API keys")
        now = self.clock.now()
        if wanted.expires_at is not None and wanted.expires_at <= now:
            raise InvalidArgument("expires_at", "A key expires in the future, or never.")
        name, request_id = parse_name(wanted.name), parse_request_id(wanted.request_id)
        secret = new_secret()
        async with self.unit_of_work() as work:
            membership = await require(work, caller, wanted.project_id, Permission.KEYS_WRITE)
            key = ApiKey(
                key_id=new_id(),
                user_id=caller.user_id,
                project_id=membership.project.project_id,
                name=name,
                prefix=secret[:PREFIX_CHARACTERS],
                scopes=_sorted(wanted.scopes),
                created_at=now,
                expires_at=wanted.expires_at,
                request_id=request_id,
            )
            stored = await work.api_keys.add(key, hash_secret(secret))
            if stored.project_id != key.project_id:
                raise InvalidArgument("request_id", "This was used for a key of another project.")
            if stored.key_id != key.key_id:
                return CreatedApiKey(stored, secret="")
            await work.audit.add(
                AuditEntry(AuditAction.API_KEY_CREATED, now, caller.user_id, subject=key.key_id)
            )
        return CreatedApiKey(stored, secret)


def _sorted(scopes: Collection[ApiKeyScope]) -> tuple[ApiKeyScope, ...]:
    """Return each scope once, in the order of their definition."""
    wanted = set(scopes) or {ApiKeyScope.READ}
    return tuple(scope for scope in ApiKeyScope if scope in wanted)
