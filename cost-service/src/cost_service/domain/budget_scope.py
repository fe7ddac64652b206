"""Something that has a budget of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cost_service.domain.names import require_id
from service_kit.errors import InvalidArgument


class BudgetScopeKind(StrEnum):
    """What a budget belongs to."""

    PROJECT = "project"
    TEAM = "team"
    API_KEY = "api_key"

    @property
    def needs_budget(self) -> bool:
        """Tell whether a monthly budget is needed. A key has a cap only if one was set."""
        return self is not BudgetScopeKind.API_KEY

    @property
    def whose_to_raise(self) -> str:
        """Who sets its caps, as a person is told whom to ask."""
        if self is BudgetScopeKind.API_KEY:
            return "an owner or manager of the key's project"
        return f"an owner or manager of the {self.value}"

    @property
    def id_name(self) -> str:
        """What its id is called, in logs as elsewhere: `project_id`, `team_id` or `api_key_id`."""
        return f"{self.value}_id"


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """A project, team or key.

    `owner_user_id` is whose allowance a project's monthly cap counts against, and `default_cap`
    tells that a project without one gets the default. A team without a cap always does, at nobody's
    expense: its cap bounds what its projects spend and gives them nothing.
    """

    kind: BudgetScopeKind
    scope_id: str
    owner_user_id: str = ""
    default_cap: bool = False

    def __post_init__(self) -> None:
        require_id("scope_id", self.scope_id)
        if self.owner_user_id or self.default_cap:
            require_id("owner_user_id", self.owner_user_id)

    @property
    def key(self) -> tuple[str, str]:
        """What tells scopes apart, and the order in which their rows are locked."""
        return (self.kind.value, self.scope_id)

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.scope_id}"


def ordered_scopes(scopes: Iterable[BudgetScope]) -> tuple[BudgetScope, ...]:
    """Return the scopes in the one order in which everybody locks them.

    Raises:
        InvalidArgument: A scope is named twice.
    """
    ordered = tuple(sorted(scopes, key=lambda scope: scope.key))
    if len({scope.key for scope in ordered}) != len(ordered):
        raise InvalidArgument("scopes", "A scope may be named only once.")
    return ordered
