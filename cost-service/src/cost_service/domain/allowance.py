"""What a user may allocate to budgets in each month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.errors import AllowanceExceeded


@dataclass(frozen=True, slots=True)
class Allowance:
    """A user's allowance and how much of it is claimed.

    A project claims its monthly cap or, where the cap was lowered below it, what it has reserved
    and posted this month: that is not to be spent again elsewhere. From the next month on it claims
    its cap. No other cap claims anything: those only tighten.

    `allocated_nanousd` is the sum of the caps; `overspent_nanousd` has, by scope key, what is
    reserved and posted this month beyond a cap.
    """

    user_id: str
    amount_nanousd: int
    allocated_nanousd: int
    overspent_nanousd: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def claimed_nanousd(self) -> int:
        """The sum of what the scopes claim this month."""
        return self.allocated_nanousd + sum(self.overspent_nanousd.values())

    @property
    def left_nanousd(self) -> int:
        """What may still be allocated; never negative, even if the allowance was cut."""
        return max(0, self.amount_nanousd - self.claimed_nanousd)

    def reallocated(self, scope: BudgetScope, before_nanousd: int, after_nanousd: int) -> Allowance:
        """Return the allowance after one budget went from one cap to another.

        Lowering is always possible, also where more is claimed than allowed. It may leave more
        overspent than the returned value knows: that is read anew with the allowance.

        Raises:
            AllowanceExceeded: The scopes would claim more than the amount.
        """
        overspent = self.overspent_nanousd.get(scope.key, 0)
        after = replace(
            self,
            allocated_nanousd=self.allocated_nanousd - before_nanousd + after_nanousd,
            overspent_nanousd={
                **self.overspent_nanousd,
                scope.key: max(0, overspent + before_nanousd - after_nanousd) if overspent else 0,
            },
        )
        if after_nanousd > before_nanousd and after.claimed_nanousd > self.amount_nanousd:
            raise AllowanceExceeded(
                amount_nanousd=self.amount_nanousd,
                allocated_nanousd=self.claimed_nanousd,
                requested_nanousd=after_nanousd - before_nanousd,
            )
        return after

    def default_cap(self, wanted_nanousd: int) -> int:
        """Return the cap that a default budget gets: what is wanted, or what is left."""
        return min(wanted_nanousd, self.left_nanousd)
