"""Everything that can go wrong with accounts, sessions, keys, projects and teams."""

from __future__ import annotations

from service_kit.access import ProjectNotFound
from service_kit.errors import ErrorCode, ServiceError

__all__ = [
    "AdministratorNeeded",
    "ApiKeyNotFound",
    "ApiKeyRefused",
    "CredentialsRefused",
    "DefaultProjectKept",
    "EmailTaken",
    "IdempotencyKeyReused",
    "PasswordRefused",
    "PersonNeeded",
    "ProjectNotFound",
    "RefreshTokenRefused",
    "RefreshTokenReused",
    "RegistrationClosed",
    "TeamNotFound",
    "UserNotFound",
    "UsernameTaken",
]


class RegistrationClosed(ServiceError):
    """This installation lets nobody register by themselves."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "REGISTRATION_CLOSED"

    def __init__(self) -> None:
        super().__init__("Registration is closed here; ask an administrator for an account.")


class EmailTaken(ServiceError):
    """Another account has this e-mail address."""

    code = ErrorCode.ALREADY_EXISTS
    reason = "EMAIL_TAKEN"

    def __init__(self) -> None:
        super().__init__("This e-mail address has an account already.")


class UsernameTaken(ServiceError):
    """Another account has this username, or nobody may have it."""

    code = ErrorCode.ALREADY_EXISTS
    reason = "USERNAME_TAKEN"

    def __init__(self) -> None:
        super().__init__("This username is taken.")


class PasswordRefused(ServiceError):
    """The password is not one that this installation accepts.

    Args:
        rule: `too_short`, `too_long` or `too_common`.
        message: The rule in words, without the password.
    """

    code = ErrorCode.INVALID_ARGUMENT
    reason = "PASSWORD_REFUSED"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message, metadata={"field": "password", "rule": rule})


class CredentialsRefused(ServiceError):
    """No such user, or another password: nobody is told which."""

    code = ErrorCode.UNAUTHENTICATED
    reason = "CREDENTIALS_REFUSED"

    def __init__(self) -> None:
        super().__init__("The username or the password is wrong.")


class RefreshTokenRefused(ServiceError):
    """The refresh token is none of ours, has expired, or its session is over."""

    code = ErrorCode.UNAUTHENTICATED
    reason = "REFRESH_TOKEN_REFUSED"

    def __init__(self) -> None:
        super().__init__("The refresh token was not accepted; log in again.")


class RefreshTokenReused(ServiceError):
    """A token that was replaced long ago came back: its session is over."""

    code = ErrorCode.UNAUTHENTICATED
    reason = "REFRESH_TOKEN_REUSED"

    def __init__(self) -> None:
        super().__init__("The refresh token was used before; its session is closed. Log in again.")


class ApiKeyRefused(ServiceError):
    """The key is mistyped, unknown, expired or deleted: nobody is told which."""

    code = ErrorCode.UNAUTHENTICATED
    reason = "API_KEY_REFUSED"

    def __init__(self) -> None:
        super().__init__("The API key was not accepted.")


class ApiKeyNotFound(ServiceError):
    """The key does not exist, or its project is none of the caller's: both read the same."""

    code = ErrorCode.NOT_FOUND
    reason = "API_KEY_NOT_FOUND"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"API key {key_id} does not exist.", metadata={"api_key_id": key_id})


class TeamNotFound(ServiceError):
    """The team does not exist, or the caller has no part in it: both read the same."""

    code = ErrorCode.NOT_FOUND
    reason = "TEAM_NOT_FOUND"

    def __init__(self, team_id: str) -> None:
        super().__init__(f"Team {team_id} does not exist.", metadata={"team_id": team_id})


class UserNotFound(ServiceError):
    """The account of a token is gone."""

    code = ErrorCode.NOT_FOUND
    reason = "USER_NOT_FOUND"

    def __init__(self, user_id: str) -> None:
        super().__init__(f"User {user_id} does not exist.", metadata={"user_id": user_id})


class PersonNeeded(ServiceError):
    """An API key tried what only people do, whatever its scopes."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, what: str) -> None:
        super().__init__(f"An API key can't {what}; log in as a person.")


class AdministratorNeeded(ServiceError):
    """Somebody tried what only administrators of the installation do."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self) -> None:
        super().__init__("Only administrators may do this.")


class IdempotencyKeyReused(ServiceError):
    """The request id made something else than what is asked for now."""

    code = ErrorCode.INVALID_ARGUMENT
    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used before, with another request; use a new key."
        )


class DefaultProjectKept(ServiceError):
    """The project made at registration can't be removed."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "DEFAULT_PROJECT_KEPT"

    def __init__(self, project_id: str) -> None:
        super().__init__(
            "The default project can't be removed.", metadata={"project_id": project_id}
        )
