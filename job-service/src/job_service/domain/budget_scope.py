"""Whose budgets a job uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """Something whose budget a job uses."""

    kind: str
    scope_id: str
    owner_user_id: str
    default_cap: bool
