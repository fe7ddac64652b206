"""Projects: what work and keys belong to, and who owns them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime

from auth_service.domain.errors import DefaultProjectKept
from auth_service.domain.identifiers import has_control_characters
from auth_service.domain.permissions import ProjectRole
from service_kit.errors import InvalidArgument

NAME_MAX_CHARACTERS = 100
DEFAULT_PROJECT_NAME = "Default"


@dataclass(frozen=True, slots=True)
class Project:
    """A project. An archived one looks absent, but its id stays taken.

    `team_id` is the team whose budget its work uses too.
    """

    project_id: str
    name: str
    owner_user_id: str
    is_default: bool
    created_at: datetime
    request_id: str | None = None
    archived_at: datetime | None = None
    team_id: str | None = None

    def archived(self, now: datetime) -> Project:
        """Return this project removed; its `request_id` is free for another one.

        Raises:
            DefaultProjectKept: It is somebody's default project.
        """
        if self.is_default:
            raise DefaultProjectKept(self.project_id)
        return replace(self, archived_at=now, request_id=None)


@dataclass(frozen=True, slots=True)
class Membership:
    """A person's part in a project."""

    project: Project
    user_id: str
    role: ProjectRole


def parse_name(text: str, field: str = "name") -> str:
    """Return a name of a project, team or key as it is kept.

    Raises:
        InvalidArgument: It is empty, longer than 100 characters, or holds control characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name or len(name) > NAME_MAX_CHARACTERS or has_control_characters(name):
        raise InvalidArgument(
            field, f"A name has 1 to {NAME_MAX_CHARACTERS} characters and no control characters."
        )
    return name
