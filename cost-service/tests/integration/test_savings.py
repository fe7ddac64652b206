"""What the same work would have cost elsewhere, by the prices each job was agreed at."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cost_service.usecases.get_savings import GetSavings
from service_kit.database import open_engine

from .conftest import OWNER, Money
from .test_reports import book

# (version, target, model) -> nano-USD per million tokens in and out. Some leave parts of a
# nano-USD a token, which is where rounding once per job shows.
PRICES = {
    ("a", "local", "*"): (1_000_000, 999_999),
    ("a", "yotta", "*"): (1, 0),
    ("a", "yotta", "m1"): (37_500_000, 2**40 + 1),
    ("a", "groq", "m2"): (590_000_001, 790_000_000),
    ("b", "local", "m1"): (333, 333_333_333),
    ("b", "xai", "big"): (5_000_000_000, 15_000_000_000),
}
jobs = st.fixed_dictionaries(
    {
        "price_version": st.sampled_from(["a", "a", "b", "none"]),
        "model": st.sampled_from(["m1", "m2", ""]),
        "target": st.sampled_from(["local", "yotta", "xai"]),
        "job_type": st.sampled_from(["chat_completion", "embedding", ""]),
        "kind": st.sampled_from(["post", "post", "post", "void"]),
        "amount_nanousd": st.integers(0, 10**12),
        "tokens_input": st.one_of(st.integers(0, 5), st.integers(0, 2**40)),
        "tokens_output": st.one_of(st.integers(0, 5), st.integers(0, 2**40)),
    }
)


@pytest.fixture
async def priced(migrated_database, database):
    """The database with the prices above. Whoever empties it next removes them."""
    superuser = await asyncpg.connect(migrated_database.superuser_url(database))
    async with superuser.transaction():
        await superuser.execute(
            "INSERT INTO price_versions VALUES ('a', '2025-02-01', ''), ('b', '2025-03-01', '')"
        )
        await superuser.executemany(
            "INSERT INTO prices VALUES ($1, $2, $3, $4, $5)",
            [(*key, *price) for key, price in PRICES.items()],
        )
    await superuser.close()


async def savings_of(money, project_id="p1"):
    return await GetSavings(money.access, money.work)(OWNER, project_id, 30)


def price_for(job, target, model):
    """The price of one job in a scenario, said as plainly as possible."""
    version = job["price_version"]
    if model == "*":
        own = PRICES.get((version, target, job["model"]))
        return own or PRICES.get((version, target, "*"))
    if job["job_type"] in ("", "embedding") and job["model"] != model:
        return None
    return PRICES.get((version, target, model))


def cost_at(job, target, model):
    """What one job costs, rounded up once, or None."""
    price = price_for(job, target, model)
    if price is None:
        return None
    return -(-(job["tokens_input"] * price[0] + job["tokens_output"] * price[1]) // 10**6)


def expected_of(work):
    """(jobs, charged, cost) of each scenario, job by job."""
    versions = {job["price_version"] for job in work}
    found = {}
    for target, model in {key[1:] for key in PRICES if key[0] in versions}:
        costs = [(job, cost_at(job, target, model)) for job in work]
        compared = [(job, cost) for job, cost in costs if cost is not None]
        if compared:
            charged = sum(job["amount_nanousd"] for job, _ in compared)
            found[target, model] = (len(compared), charged, sum(cost for _, cost in compared))
    return found


def alone_in(work):
    """How many jobs of each kind have no price at another target."""
    places = {key[1:] for key in PRICES}
    return Counter(
        (job["target"], job["model"], job["price_version"])
        for job in work
        if all(
            target == job["target"] or cost_at(job, target, model) is None
            for target, model in places
        )
    )


@pytest.mark.usefixtures("priced")
async def test_scenarios_are_exactly_the_sums_of_jobs(database):
    """Whatever the jobs, each scenario is the sum over jobs of costs rounded up once."""
    numbers = iter(range(10_000))

    async def agree(given_jobs):
        project_id = f"p{next(numbers)}"
        work = [
            {**job, "amount_nanousd": job["amount_nanousd"] if job["kind"] == "post" else 0}
            for job in given_jobs
        ]
        engine = open_engine(database, application_name="test")
        connection = await asyncpg.connect(database)
        try:
            money = Money(engine, connection)
            await book(
                money,
                *(
                    {**job, "project_id": project_id, "job_id": f"{project_id}-{number}"}
                    for number, job in enumerate(work)
                ),
            )
            savings = await savings_of(money, project_id)
        finally:
            await connection.close()
            await engine.dispose()
        charged = [job for job in work if job["kind"] == "post"]
        assert {
            (one.target, one.model): (one.jobs, one.charged_nanousd, one.cost_nanousd)
            for one in savings.scenarios
        } == expected_of(charged)
        assert savings.jobs == len(charged)
        assert savings.charged_nanousd == sum(job["amount_nanousd"] for job in charged)
        assert {one.jobs + one.not_comparable_jobs for one in savings.scenarios} <= {len(charged)}
        assert {
            (one.target, one.model, one.price_version): one.jobs for one in savings.not_comparable
        } == alone_in(charged)

    # Not shrunk: each example is a conversation with the database.
    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
        phases=[Phase.generate],
    )
    @given(st.lists(jobs, min_size=1, max_size=40))
    def agree_always(given_jobs):
        asyncio.run(agree(given_jobs))

    await asyncio.to_thread(agree_always)


async def test_prices_of_the_documents(money):
    """One chat of 3 tokens: what it would have cost on every target of version 1."""
    await book(
        money,
        {"tokens_input": 1, "tokens_output": 2, "amount_nanousd": 3_000_000},
        {"kind": "refund", "amount_nanousd": 1_000_000},
        {"kind": "surcharge", "job_id": "j0", "amount_nanousd": 5},
    )

    savings = await savings_of(money)

    assert {(one.target, one.model): one.cost_nanousd for one in savings.scenarios} == {
        ("local", "*"): 3_000_000,
        ("yotta", "*"): 30_000_000,
        ("anthropic", "claude-sonnet-4"): 33_000,
        ("anthropic", "claude-haiku-4.5"): 2_750,
        ("openai", "gpt-5.1"): 70_000,
        ("google", "gemini-2.5-flash"): 675,
        ("groq", "llama-3.3-70b"): 2_170,
        ("xai", "grok-4-1-fast"): 35_000,
    }
    assert savings.scenarios[0].is_local
    assert [one.cost_nanousd for one in savings.scenarios[1:]] == sorted(
        one.cost_nanousd for one in savings.scenarios[1:]
    )
    assert (savings.charged_nanousd, savings.corrections_nanousd) == (3_000_000, -999_995)
    assert {one.price_versions for one in savings.scenarios} == {("1",)}


async def test_no_work_has_no_scenarios(money):
    """Without charged work there is nothing to compare."""
    await book(money, {"kind": "void"})

    savings = await savings_of(money)

    assert (savings.jobs, savings.scenarios, savings.not_comparable) == (0, (), ())


@pytest.mark.usefixtures("priced")
async def test_own_price_comes_before_that_of_all(money):
    """Where a target has a price for the job's own model, that is what it would have cost."""
    await book(money, {"price_version": "a", "tokens_input": 1000, "tokens_output": 0})

    costs = {
        (one.target, one.model): one.cost_nanousd for one in (await savings_of(money)).scenarios
    }

    # 37.5 nano-USD a token, not the millionth that the others cost.
    assert costs["yotta", "*"] == costs["yotta", "m1"] == 37_500


@pytest.mark.usefixtures("priced")
async def test_corners_of_the_comparison(money):
    """Vectors aren't compared with a chat model, and what has no price is listed."""
    await book(
        money,
        {"price_version": "a", "job_type": "embedding", "model": "m2", "target": "local"},
        {"price_version": "none", "model": "m9", "target": "x", "amount_nanousd": 7},
    )

    savings = await savings_of(money)

    # The vectors' own model at groq, and every target that takes any model.
    assert {(one.target, one.model) for one in savings.scenarios} == {
        ("local", "*"),
        ("yotta", "*"),
        ("groq", "m2"),
    }
    assert {one.not_comparable_jobs for one in savings.scenarios} == {1}
    (alone,) = savings.not_comparable
    assert (alone.target, alone.model, alone.price_version) == ("x", "m9", "none")
    assert (alone.jobs, alone.charged_nanousd) == (1, 7)
