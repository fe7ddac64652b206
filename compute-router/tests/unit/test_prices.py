"""What targets charge."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from compute_router.domain.prices import Price, PriceBook

AMOUNTS = st.integers(0, 10**13)
TOKENS = st.integers(0, 10**6)


@given(AMOUNTS, AMOUNTS, TOKENS, TOKENS)
def test_cost_is_rounded_up_once(price_in, price_out, tokens_in, tokens_out):
    """Never below the exact cost, and less than a nano-USD above it."""
    exact = Fraction(tokens_in * price_in + tokens_out * price_out, 10**6)

    cost = Price(price_in, price_out).cost_nanousd(tokens_in, tokens_out)

    assert exact <= cost < exact + 1


def test_model_price_goes_before_the_targets():
    """`*` is for models without a price of their own."""
    book = PriceBook("1", {("t", "*"): Price(1, 1), ("t", "m"): Price(2, 2)})

    assert book.find("t", "m") == Price(2, 2)
    assert book.find("t", "x") == Price(1, 1)
    assert book.find("u", "m") is None
