"""Everything that can go wrong with money, in words a client understands."""

from cost_service.domain.budget_scope import BudgetScope
from cost_service.domain.period import PeriodKind
from cost_service.domain.prices import usd_text
from service_kit.errors import ErrorCode, ServiceError


class BudgetExceeded(ServiceError):
    """A scope has less left in this period than was asked for."""

    code = ErrorCode.RESOURCE_EXHAUSTED
    reason = "BUDGET_EXCEEDED"

    def __init__(
        self,
        scope: BudgetScope,
        period_kind: PeriodKind,
        period: str,
        *,
        cap_nanousd: int,
        reserved_nanousd: int,
        posted_nanousd: int,
        requested_nanousd: int,
    ) -> None:
        left = max(0, cap_nanousd - reserved_nanousd - posted_nanousd)
        # In the past tense, since a blocked job shows it for as long as it waits.
        super().__init__(
            f"The {period_kind} budget of {scope} had ${usd_text(left)} left, and this request may "
            f"cost up to ${usd_text(requested_nanousd)}: {scope.kind.whose_to_raise} can raise or "
            "top it up.",
            metadata={
                "scope_kind": scope.kind,
                "scope_id": scope.scope_id,
                "period_kind": period_kind,
                "period": period,
                "cap_nanousd": str(cap_nanousd),
                "reserved_nanousd": str(reserved_nanousd),
                "posted_nanousd": str(posted_nanousd),
                "requested_nanousd": str(requested_nanousd),
            },
        )


class NoBudget(ServiceError):
    """Nothing was allocated to a scope, and no default applies (or is left) for it."""

    code = ErrorCode.RESOURCE_EXHAUSTED
    reason = "NO_BUDGET"

    def __init__(self, scope: BudgetScope, requested_nanousd: int) -> None:
        super().__init__(
            f"No budget is set for {scope}, and this request may cost up to "
            f"${usd_text(requested_nanousd)}: {scope.kind.whose_to_raise} can set one.",
            metadata={
                "scope_kind": scope.kind,
                "scope_id": scope.scope_id,
                "requested_nanousd": str(requested_nanousd),
            },
        )


class BudgetNotSet(ServiceError):
    """There is no such cap to add to."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "BUDGET_NOT_SET"

    def __init__(self, scope: BudgetScope, period_kind: PeriodKind) -> None:
        super().__init__(
            f"No {period_kind} budget is set for {scope}; set one first.",
            metadata={
                "scope_kind": scope.kind,
                "scope_id": scope.scope_id,
                "period_kind": period_kind,
            },
        )


class IdempotencyKeyReused(ServiceError):
    """The request id did something else than what is asked for now."""

    code = ErrorCode.INVALID_ARGUMENT
    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used before, with another request; use a new key."
        )


class HoldSettled(ServiceError):
    """The hold was posted or voided before, so it can't be placed (again)."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "HOLD_SETTLED"

    def __init__(self, hold_id: str, state: str) -> None:
        super().__init__(
            f"Hold {hold_id} is already {state}.", metadata={"hold_id": hold_id, "state": state}
        )


class AllowanceExceeded(ServiceError):
    """The owner's budgets together would come to more than the owner may allocate."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "ALLOWANCE_EXCEEDED"

    def __init__(
        self, *, amount_nanousd: int, allocated_nanousd: int, requested_nanousd: int
    ) -> None:
        super().__init__(
            f"The allowance of the project's owner is ${usd_text(amount_nanousd)}, of which "
            f"${usd_text(allocated_nanousd)} are taken, and this budget needs "
            f"${usd_text(requested_nanousd)} more: lower another budget of the owner, or ask an "
            "administrator for a larger allowance.",
            metadata={
                "amount_nanousd": str(amount_nanousd),
                "allocated_nanousd": str(allocated_nanousd),
                "requested_nanousd": str(requested_nanousd),
            },
        )


class ApiKeyNotFound(ServiceError):
    """The key does not exist, or belongs to a project that is not the caller's."""

    code = ErrorCode.NOT_FOUND
    reason = "API_KEY_NOT_FOUND"

    def __init__(self, api_key_id: str) -> None:
        super().__init__(
            f"API key {api_key_id} does not exist.", metadata={"api_key_id": api_key_id}
        )


class JobCostNotFound(ServiceError):
    """The project has no such job, or nothing is booked or held for it."""

    code = ErrorCode.NOT_FOUND
    reason = "JOB_COST_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Nothing is booked or held for job {job_id}.", metadata={"job_id": job_id}
        )


class PriceVersionNotFound(ServiceError):
    """The price book has no version of this name."""

    code = ErrorCode.NOT_FOUND
    reason = "PRICE_VERSION_NOT_FOUND"

    def __init__(self, price_version: str) -> None:
        super().__init__(
            f"Price version {price_version} does not exist.",
            metadata={"price_version": price_version},
        )


class PriceVersionExists(ServiceError):
    """A version of this name, or one valid from the same moment, is there already."""

    code = ErrorCode.ALREADY_EXISTS
    reason = "PRICE_VERSION_EXISTS"

    def __init__(self, price_version: str) -> None:
        super().__init__(
            f"Price version {price_version}, or another one valid from the same moment, exists "
            "already. Versions never change.",
            metadata={"price_version": price_version},
        )


class NothingCharged(ServiceError):
    """The job, or the admission of it that is named, has no charge that could be corrected."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "NOTHING_CHARGED"

    def __init__(self, job_id: str, admission: int) -> None:
        if not admission:
            super().__init__(f"Job {job_id} was not charged.", metadata={"job_id": job_id})
            return
        super().__init__(
            f"Job {job_id} has no admission {admission} that was charged.",
            metadata={"job_id": job_id, "admission": str(admission)},
        )


class RefundExceedsCharge(ServiceError):
    """All refunds together would come to more than the charge and its surcharges."""

    code = ErrorCode.FAILED_PRECONDITION
    reason = "REFUND_EXCEEDS_CHARGE"

    def __init__(self, hold_id: str, *, left_nanousd: int, requested_nanousd: int) -> None:
        super().__init__(
            f"The refund is more than the ${usd_text(left_nanousd)} that are left of the charge.",
            metadata={
                "hold_id": hold_id,
                "left_nanousd": str(left_nanousd),
                "requested_nanousd": str(requested_nanousd),
            },
        )
