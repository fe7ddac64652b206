"""What the same work would have cost elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

LOCAL: Final = "local"
"""The target that is the own machines."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The jobs of a period at another target or model, where they have a price.

    `*` is every model of the target. `charged_nanousd` and `cost_nanousd` are about the same
    jobs: what was charged for them, and what they would have cost there.
    """

    target: str
    model: str
    jobs: int
    charged_nanousd: int
    cost_nanousd: int
    not_comparable_jobs: int
    price_versions: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        return self.target == LOCAL

    @property
    def saving_nanousd(self) -> int:
        """How much cheaper they would have been there; negative where they would be dearer."""
        return self.charged_nanousd - self.cost_nanousd


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Jobs for which no target but their own has a price."""

    target: str
    model: str
    price_version: str
    jobs: int
    charged_nanousd: int


@dataclass(frozen=True, slots=True)
class Savings:
    """What a project's work was charged, cost us, and would have cost in each scenario.

    Charges are as settled; `corrections_nanousd` are surcharges less refunds.
    """

    project_id: str
    period_days: int
    begins_at: datetime
    ends_at: datetime
    jobs: int
    tokens_input: int
    tokens_output: int
    charged_nanousd: int
    corrections_nanousd: int
    provider_cost_nanousd: int
    scenarios: tuple[Scenario, ...]
    not_comparable: tuple[NotComparable, ...]
