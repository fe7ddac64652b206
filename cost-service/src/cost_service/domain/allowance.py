"""What a user may allocate to budgets in each month."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cost_service.domain.errors import AllowanceExceeded


@dataclass(frozen=True, slots=True)
class Allowance:
    """A user's allowance and how much of it is allocated."""

    user_id: str
    amount_nanousd: int
    allocated_nanousd: int

    @property
    def left_nanousd(self) -> int:
        """What may still be allocated; never negative, even if the allowance was cut."""
        return max(0, self.amount_nanousd - self.allocated_nanousd)

    def reallocated(self, before_nanousd: int, after_nanousd: int) -> Allowance:
        """Return the allowance after one budget went from one cap to another.

        Lowering is always possible, also where more is allocated than allowed.

        Raises:
            AllowanceExceeded: The new sum would be more than the amount.
        """
        allocated = self.allocated_nanousd - before_nanousd + after_nanousd
        if after_nanousd > before_nanousd and allocated > self.amount_nanousd:
            raise AllowanceExceeded(
                amount_nanousd=self.amount_nanousd,
                allocated_nanousd=self.allocated_nanousd,
                requested_nanousd=after_nanousd - before_nanousd,
            )
        return replace(self, allocated_nanousd=allocated)

    def default_cap(self, wanted_nanousd: int) -> int:
        """Return the cap that a default budget gets: what is wanted, or what is left."""
        return min(wanted_nanousd, self.left_nanousd)
