"""Money: the hold is the exact worst case, the charge is exact and never more."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_fakes import BOOK, EMBED, HELLO, LOCAL, SKILLED, YOTTA

from job_service.domain.charge import (
    Offer,
    Price,
    PriceBook,
    Terms,
    Usage,
    UsageSource,
    judge_usage,
    terms_for,
)
from job_service.domain.cheaper_ways import cheaper_ways
from job_service.domain.errors import ModelNotFound
from job_service.domain.specification import AUTO, Message, Residency, Sampling
from job_service.domain.targets import Model, Target, agree_terms, remembering, serves
from service_kit.errors import Unavailable

CHEAP = Price("local", "smol", 1, 1)
PRICE = Price("local", "smol", 3_000_000, 15_000_000)


def an_offer(price=PRICE, context_tokens=1000, **changes):
    values = {
        "default_max_tokens": 100,
        "template_overhead_tokens": 30,
        "message_overhead_tokens": 5,
    }
    return Offer(price, context_tokens, **{**values, **changes})


TERMS = terms_for(100, 1, 50, [an_offer()], "1")


class TestCost:
    def test_rounds_up_once(self):
        """A fraction of a nano-USD becomes a whole one, once for input and output together."""
        assert CHEAP.cost(Usage(1, 1)) == 1
        assert CHEAP.cost(Usage(999_999, 1)) == 1
        assert CHEAP.cost(Usage(999_999, 2)) == 2

    def test_nothing_costs_nothing(self):
        assert PRICE.cost(Usage(0, 0)) == 0

    @given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**13))
    def test_never_below_the_exact_cost_and_never_a_whole_unit_above(self, tin, tout, price):
        cost = Price("t", "m", price, price).cost(Usage(tin, tout))
        exact_millionths = (tin + tout) * price
        assert 0 <= cost * 1_000_000 - exact_millionths < 1_000_000


class TestCheaperWays:
    """What a refused budget's caller is told to ask for."""

    def test_what_lowers_the_worst_case_is_named(self):
        """A shorter answer; and the local target, where another one made it dear."""
        auto = replace(HELLO, model=AUTO)
        told = cheaper_ways(auto, agree_terms(auto, (LOCAL, YOTTA), BOOK))
        assert told == (
            "It would cost less with fewer max_tokens (here 200) or local_only residency."
        )

    @pytest.mark.parametrize(
        ("model", "residency", "targets"),
        [
            ("smol", Residency.ANY, (LOCAL, YOTTA)),
            ("big", Residency.ANY, (LOCAL, YOTTA)),
            (AUTO, Residency.LOCAL_ONLY, (LOCAL, YOTTA)),
        ],
    )
    def test_local_is_named_only_where_it_helps(self, model, residency, targets):
        """Not where the job runs there in any case, and not where it can't run there."""
        asked = replace(HELLO, model=model, residency=residency)
        assert "local_only" not in cheaper_ways(asked, agree_terms(asked, targets, BOOK))

    def test_nothing_is_named_where_nothing_helps(self):
        """A text to be embedded is as long as it is."""
        assert cheaper_ways(EMBED, agree_terms(EMBED, (SKILLED,), BOOK)) == ""


class TestHold:
    def test_amount_is_exact(self):
        """Bytes plus overheads at the input price, `max_tokens` at the output price."""
        assert TERMS.tokens_input_bound == 100 + 30 + 5
        assert TERMS.max_tokens == 50
        assert TERMS.hold_nanousd == 135 * 3 + 50 * 15

    def test_of_the_documented_prices(self):
        """A prompt of 10 bytes and 100 tokens of answer at $0.001 a token."""
        terms = agree_terms(HELLO, (LOCAL,), BOOK)
        prompt_bytes = len("user") + len("Hello!")

        assert terms.hold_nanousd == (prompt_bytes + 30 + 5 + 100) * 1_000_000
        assert terms.price_version == "1"

    def test_counts_bytes_not_characters(self):
        """Text in other scripts takes more tokens than characters."""
        cyrillic = replace(HELLO, messages=(Message("user", "Привет"),))
        bound = agree_terms(cyrillic, (LOCAL,), BOOK).tokens_input_bound
        assert bound == len("user") + 12 + 35

    def test_context_bounds_prompt_and_answer_together(self):
        """What the context can't hold is not held for; the cheaper side gives way."""
        terms = terms_for(5_000, 1, 900, [an_offer(context_tokens=1000)], "1")
        assert terms.tokens_input_bound == 1000
        assert terms.hold_nanousd == 100 * 3 + 900 * 15

    def test_cheaper_output_gives_way_to_dearer_input(self):
        price = Price("t", "m", 15_000_000, 3_000_000)
        terms = terms_for(5_000, 1, 900, [an_offer(price, context_tokens=1000)], "1")
        assert terms.hold_nanousd == 1000 * 15

    def test_dearest_permitted_target_counts(self):
        """With `auto` any target may run it, and the dearest is held for."""
        anywhere = replace(HELLO, model=AUTO)
        local_only = replace(anywhere, residency=Residency.LOCAL_ONLY)
        at_home = agree_terms(local_only, (LOCAL, YOTTA), BOOK)
        everywhere = agree_terms(anywhere, (LOCAL, YOTTA), BOOK)

        assert {price.target for price in at_home.prices} == {"local"}
        assert everywhere.hold_nanousd == (10 + 50 + 10 + 200) * 10_000_000

    def test_model_default_applies_without_max_tokens(self):
        assert agree_terms(HELLO, (LOCAL,), BOOK).max_tokens == 100
        asked = replace(HELLO, sampling=Sampling(max_tokens=7))
        assert agree_terms(asked, (LOCAL,), BOOK).max_tokens == 7

    def test_free_work_is_held_for_too(self):
        """The ledger takes no hold of nothing."""
        free = Price("local", "smol", 0, 0)
        assert terms_for(1, 1, 1, [an_offer(free)], "1").hold_nanousd == 1

    def test_exact_price_beats_that_of_all_models(self):
        book = PriceBook("2", (Price("local", "*", 5, 5), Price("local", "smol", 7, 7)))
        assert book.find("local", "smol") == Price("local", "smol", 7, 7)
        assert book.find("local", "other") == Price("local", "other", 5, 5)
        assert book.find("yotta", "other") is None


class TestTargets:
    def test_unknown_model_is_refused(self):
        with pytest.raises(ModelNotFound):
            agree_terms(replace(HELLO, model="none-such"), (LOCAL, YOTTA), BOOK)

    def test_unknown_model_may_belong_to_a_target_that_told_none(self):
        """While a target lists nothing, nobody can say that a model does not exist."""
        silent = Target("local", paid=False, models=())
        with pytest.raises(Unavailable):
            agree_terms(HELLO, (silent, YOTTA), BOOK)

    @pytest.mark.parametrize("silent", ["local", "yotta"])
    def test_silent_target_is_agreed_on_too(self, silent):
        """After a start a target may run a job before we heard of its models: at its own price."""
        targets = tuple(
            replace(target, models=()) if target.name == silent else target
            for target in (LOCAL, YOTTA)
        )
        terms = agree_terms(replace(HELLO, model=AUTO), targets, BOOK)

        used = Usage(10, 2)
        assert terms.charge("local", "smol", used) == 12 * 1_000_000
        assert terms.charge("yotta", "whatever-it-serves", used) == 12 * 10_000_000

    def test_silent_cloud_makes_no_hold_dearer(self):
        """It may be away for a day; small budgets go on working."""
        anywhere = replace(HELLO, model=AUTO)
        alone = agree_terms(anywhere, (LOCAL,), BOOK)
        beside = agree_terms(anywhere, (LOCAL, replace(YOTTA, models=())), BOOK)
        assert beside.hold_nanousd == alone.hold_nanousd

    def test_silent_target_alone_has_no_price(self):
        """Work of the one that is known must not be charged at the other's price."""
        book = PriceBook("1", (Price("yotta", "*", 5, 5),))
        with pytest.raises(Unavailable):
            agree_terms(HELLO, (LOCAL, replace(YOTTA, models=())), book)

    def test_silent_cloud_is_not_agreed_on_for_local_work(self):
        silent = replace(YOTTA, models=())
        terms = agree_terms(replace(HELLO, residency=Residency.LOCAL_ONLY), (LOCAL, silent), BOOK)
        assert {price.target for price in terms.prices} == {"local"}

    def test_models_are_remembered_while_a_target_lists_none(self):
        silent = Target("local", paid=False, models=())
        assert remembering((LOCAL,), (silent,)) == (LOCAL,)
        assert serves(remembering((LOCAL,), (silent,)), "smol")
        assert not serves((silent,), "smol")

    def test_without_a_price_nothing_is_agreed(self):
        with pytest.raises(Unavailable):
            agree_terms(HELLO, (LOCAL,), PriceBook("1", ()))

    def test_unpriced_target_is_left_out(self):
        other = Target("other", paid=True, models=(Model("smol", 100, 10),))
        assert len(agree_terms(HELLO, (LOCAL, other), BOOK).prices) == 1


class TestCharge:
    def test_actual_cost_is_charged(self):
        assert TERMS.charge("local", "smol", Usage(10, 2)) == 10 * 3 + 2 * 15

    def test_never_more_than_the_hold(self):
        assert TERMS.charge("local", "smol", Usage(500, 500)) == TERMS.hold_nanousd

    def test_price_of_admission_holds(self):
        """X-M6: the prices in the terms count, whatever the book says later."""
        terms = Terms(10, 10, 10_000, "1", (Price("a", "m", 1_000_000, 1_000_000),))
        assert terms.charge("a", "m", Usage(3, 4)) == 7

    def test_unforeseen_target_is_charged_at_the_dearest_price(self):
        terms = Terms(10, 10, 10**9, "1", (CHEAP, PRICE))
        assert terms.charge("elsewhere", "m", Usage(1, 1)) == 18

    @given(st.integers(0, 10**6), st.integers(0, 10**6))
    def test_charge_is_within_the_hold(self, tin, tout):
        assert 0 <= TERMS.charge("local", "smol", Usage(tin, tout)) <= TERMS.hold_nanousd


class TestUsage:
    """X-P7: zero is honoured; missing, negative and absurd give way to our own count."""

    @pytest.mark.parametrize("usage", [Usage(0, 0), Usage(10, 3), Usage(10, 0), Usage(0, 3)])
    def test_plausible_usage_is_believed(self, usage):
        assert judge_usage(usage, TERMS, 40, 3) == (usage, UsageSource.REPORTED)

    @pytest.mark.parametrize(
        "usage",
        [
            None,
            Usage(-1, 3),
            Usage(10, -3),
            Usage(2**62, 3),
            Usage(10, 2**62),
            Usage(10, 2**63 - 1),
            Usage(10, 3, tokens_input_cached=-1),
            Usage(10, 3, tokens_input_cached=11),
        ],
    )
    def test_anything_else_is_counted_here(self, usage):
        assert judge_usage(usage, TERMS, 40, 3) == (Usage(10, 3), UsageSource.COUNTED)

    def test_nothing_arrived_counts_nothing(self):
        assert judge_usage(None, TERMS, 40, 0) == (Usage(0, 0), UsageSource.COUNTED)

    @given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
    def test_no_report_makes_a_bad_charge(self, tin, tout):
        usage, _ = judge_usage(Usage(tin, tout), TERMS, 40, 3)
        assert usage.tokens_input >= 0
        assert usage.tokens_output >= 0
        assert 0 <= TERMS.charge("local", "smol", usage) <= TERMS.hold_nanousd
