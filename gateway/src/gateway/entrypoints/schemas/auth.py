"""Accounts, sessions and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from gateway.entrypoints.schemas.base import Identifier, Name, RequestBody, View

Email = Annotated[str, Field(min_length=3, max_length=254)]
Username = Annotated[str, Field(min_length=3, max_length=64)]
# Which passwords are good enough is decided by auth-service; here only the size is.
Password = Annotated[str, Field(min_length=1, max_length=1024)]

Scope = Literal["read", "inference", "jobs:write", "projects:write", "admin"]


class RegisterBody(RequestBody):
    """A new account. The person's name may be called `name` or `full_name`."""

    email: Email
    password: Password
    username: Username | None = None
    name: Name | None = None
    full_name: Name | None = None

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.name and self.full_name and self.name != self.full_name:
            raise ValueError("name and full_name are the same thing and differ")
        return self


class LoginBody(RequestBody):
    """A username or an e-mail address, in either field, and the password."""

    username: Annotated[str, Field(min_length=1, max_length=254)] | None = None
    email: Annotated[str, Field(min_length=1, max_length=254)] | None = None
    password: Password

    @model_validator(mode="after")
    def _check_identifier(self) -> Self:
        if (self.username is None) == (self.email is None):
            raise ValueError("give either username or email")
        return self


class RefreshBody(RequestBody):
    """The refresh token of a session."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512)]


class TokensView(View):
    """The tokens of a session."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 -- the word of RFC 6750
    expires_in: int
    """Seconds until the access token expires."""


class RegisteredUserView(View):
    """Who was registered."""

    id: str
    email: str
    username: str
    full_name: str
    role: str


class RegisteredView(TokensView):
    """A new account with its first session."""

    user: RegisteredUserView


class UserView(RegisteredUserView):
    """The account of the caller."""

    created_at: datetime
    last_login: datetime | None
    active_sessions_count: int
    default_project_id: str


class CreateApiKeyBody(RequestBody):
    """A new API key. Without a project, it belongs to the caller's default project."""

    name: Name
    project_id: Identifier | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5)] | None = None
    """What it may do; `read` where nothing is said."""
    expires_at: AwareDatetime | None = None


class ApiKeyView(View):
    """An API key. `secret` is shown in the first answer to its creation and never again."""

    key_id: str
    project_id: str
    name: str
    scopes: list[str]
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    secret: str | None
