"""X-R16: what is delivered twice, in any order, leaves what one delivery in order would."""

from __future__ import annotations

from itertools import permutations

import pytest

from cost_service.domain.errors import HoldSettled

from .conftest import check_books

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
