"""X-R16: what is delivered twice, in any order, leaves what one delivery in order would."""

from __future__ import annotations

from itertools import permutations

import pytest
from weir.cost.v1 import correction_service_pb2 as correction_pb
from weir.cost.v1 import cost_service_pb2 as cost_pb
from weir.cost.v1 import ledger_service_pb2 as ledger_pb
from weir.cost.v1 import price_book_service_pb2 as book_pb
from weir.cost.v1 import price_service_pb2 as price_pb

from cost_service.adapters.tables import APPEND_ONLY, MUTABLE, PRICE_BOOK
from cost_service.domain.errors import HoldSettled

from .conftest import check_books
from .test_rpcs import HOLD, RPCS, SCOPE, as_user, issuer, loopback, outcome_of, pki

__all__ = ["issuer", "loopback", "pki"]  # fixtures of the RPCs

# A hold and its end, each delivered twice: all six orders, from the intended one to the reverse.
ORDERS = sorted(set(permutations(["hold", "hold", "end", "end"])))
CHARGES = {"post": 60, "void": 0}


@pytest.mark.parametrize("end", ["post", "void"])
async def test_every_order_ends_alike(money, database, end):
    """One entry, the same charge, nothing reserved; a hold after its end is refused."""
    await money.set_budget(1000)
    for number, order in enumerate(ORDERS):
        hold_id, has_ended = f"j{number}:1", False
        for delivered in order:
            if delivered == "end":
                await (money.post(hold_id, 60) if end == "post" else money.void(hold_id))
                has_ended = True
            elif has_ended:
                with pytest.raises(HoldSettled):
                    await money.hold(hold_id, 100)
            else:
                await money.hold(hold_id, 100)
        assert await money.budget() == (1000, 0, (number + 1) * CHARGES[end]), order

    assert await money.value("SELECT count(*) FROM ledger") == len(ORDERS)
    assert await money.value("SELECT count(*) FROM holds WHERE state = 'held'") == 0
    await check_books(database)


async def test_first_end_counts(money, database):
    """A post and a void of one hold, both delivered twice: whichever comes first stays alone."""
    for number, order in enumerate(sorted(set(permutations(["post", "post", "void", "void"])))):
        hold_id = f"j{number}:1"
        await money.hold(hold_id, 100)
        booked = [
            await (money.post(hold_id, 60) if kind == "post" else money.void(hold_id))
            for kind in order
        ]
        assert booked == [True, False, False, False]
        entry = await money.value("SELECT kind FROM ledger WHERE hold_id = $1", hold_id)
        assert entry == order[0]
    assert (await money.budget())[1] == 0
    await check_books(database)


# What each RPC that changes something is asked twice, in an order in which one builds on the
# other. tests/contract/test_deliveries.py misses none.
SETTING = {
    "CostService.SetAllowance": cost_pb.SetAllowanceRequest(user_id="owner-1", amount_nanousd=900),
    "CostService.SetBudget": cost_pb.SetBudgetRequest(project_id="project-1", cap_nanousd=500),
    "CostService.ClearBudget": cost_pb.ClearBudgetRequest(
        project_id="project-1", period=cost_pb.BUDGET_PERIOD_DAILY
    ),
}
DOING = {
    "CostService.TopUpBudget": cost_pb.TopUpBudgetRequest(
        project_id="project-1", amount_nanousd=100, request_id="r1"
    ),
    "PriceBookService.AddPriceVersion": book_pb.AddPriceVersionRequest(
        request_id="r2",
        price_version="2",
        note="new",
        prices=[price_pb.Price(target="local", model="*", output_nanousd_per_million=2**40)],
    ),
    "LedgerService.PlaceHold": HOLD,
    "LedgerService.PostHold": ledger_pb.PostHoldRequest(
        hold_id=HOLD.hold_id,
        amount_nanousd=60,
        scopes=[SCOPE],
        outcome=ledger_pb.OutcomeSummary(job_id="j1", project_id="project-1"),
    ),
    "LedgerService.VoidHold": ledger_pb.VoidHoldRequest(hold_id="j2:1", scopes=[SCOPE]),
    "CorrectionService.RefundJob": correction_pb.RefundJobRequest(
        request_id="r3", job_id="j1", amount_nanousd=20, reason="sorry"
    ),
    "CorrectionService.SurchargeJob": correction_pb.SurchargeJobRequest(
        request_id="r4", job_id="j1", amount_nanousd=5, reason="more"
    ),
}
STUBS = {f"{stub.__name__.removesuffix('Stub')}.{method}": stub for stub, method, _ in RPCS}


@pytest.fixture
async def deliver(loopback, issuer):
    """Call an RPC as whoever may, with a request of the tables above; return what it says."""
    channels = {name: loopback.channel_as(name) for name in ("gateway", "job-service")}
    people = {"owner": as_user(issuer), "admin": as_user(issuer, "admin-1", role="admin")}

    async def call(rpc):
        service, _, method = rpc.partition(".")
        caller = "job-service" if service == "LedgerService" else "gateway"
        is_owners = rpc.endswith("Budget")
        request = {**SETTING, **DOING}[rpc]
        person = people["owner" if is_owners else "admin"]
        return await outcome_of(getattr(STUBS[rpc](channels[caller]), method), request, person)

    yield call
    for channel in channels.values():
        await channel.close()


@pytest.fixture
def kept(connection):
    """Return everything that is stored, but for some tables."""

    async def read(*left_out):
        return {
            table: sorted(str(row) for row in await connection.fetch(f"SELECT * FROM {table}"))
            for table in {*MUTABLE, *APPEND_ONLY, *PRICE_BOOK} - {*left_out}
        }

    return read


async def test_each_rpc_delivered_twice_changes_nothing_more(deliver, kept, database):
    """At once, and once more when all is over, where it does not set something anew."""
    for rpc in (*SETTING, *DOING):
        # Who sets what is set already did so all the same.
        left_out = ["audit_entries"] if rpc in SETTING else []
        assert await deliver(rpc) == ("OK", ""), rpc
        once = await kept(*left_out)
        assert await deliver(rpc) == ("OK", ""), rpc
        assert await kept(*left_out) == once, rpc

    over = await kept()
    for rpc in reversed(DOING):
        told = await deliver(rpc)
        is_too_late = rpc == "LedgerService.PlaceHold"
        assert told[1] == ("HOLD_SETTLED" if is_too_late else ""), rpc
    assert await kept() == over
    await check_books(database)
