"""Money in the tables: no amount is negative, and no sum loses a nano-dollar."""

from __future__ import annotations

import os

from .conftest import check_books

# X-M5 asks for a million, which takes most of a minute: WEIR_TEST_SCALE=100.
ENTRIES = 10_000 * int(os.environ.get("WEIR_TEST_SCALE", "1"))


async def test_every_amount_has_its_check(connection):
    """X-M4: the database itself refuses a negative amount, in every column that holds one."""
    columns = await connection.fetch(
        """
        SELECT c.table_name AS "table", c.column_name AS "column",
               array(
                   SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
                   WHERE k.conrelid = CAST(c.table_name AS regclass) AND k.contype = 'c'
               ) AS checks
        FROM information_schema.columns c
        WHERE c.table_schema = 'public' AND c.column_name LIKE '%nanousd%'
        """
    )

    unchecked = [
        (one["table"], one["column"])
        for one in columns
        if not any(
            f"{one['column']} {least} 0" in check
            for check in one["checks"]
            for least in (">=", ">")
        )
    ]
    assert len(columns) >= 10
    assert unchecked == []


async def test_nano_dollars_add_up(money, database):
    """X-M5: so many charges of 1 nano-USD come to exactly so many nano-USD."""
    await money.set_budget(1_000)
    await money.connection.execute(
        f"""
        INSERT INTO holds
        SELECT 'j' || n || ':1', 'j' || n, 'posted', true, 1, '1', now(), now()
        FROM generate_series(1, {ENTRIES}) n;
        INSERT INTO ledger (hold_id, kind, amount_nanousd, budget_ids, period, job_id, project_id,
                            job_state, target, model, tokens_input, tokens_output, usage_source,
                            provider_cost_nanousd, price_version)
        SELECT 'j' || n || ':1', 'post', 1, ARRAY(SELECT budget_id FROM budgets), '2026-11',
               'j' || n, 'p1', 'completed', 'local', 'm', 1, 0, 'reported', 0, '1'
        FROM generate_series(1, {ENTRIES}) n;
        UPDATE budgets SET posted_nanousd = {ENTRIES};
        """
    )

    assert await money.value("SELECT sum(amount_nanousd) FROM ledger") == ENTRIES
    await check_books(database)
