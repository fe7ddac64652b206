"""The measured pace of a worker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.domain.pace import Pace


def test_unknown_until_something_was_answered():
    """An answer of one token, or of no time, says nothing."""
    assert Pace().tokens_per_second == 0
    assert Pace().after(0, 1).tokens_per_second == 0
    assert Pace().after(5, 0).tokens_per_second == 0


def test_first_answer_sets_it():
    """The first measurement counts in full, later ones in part."""
    pace = Pace().after(100, 2)
    assert pace.tokens_per_second == 50

    assert 50 < pace.after(100, 1).tokens_per_second < 100


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0.01, 100)), min_size=1))
def test_stays_between_the_extremes(answers):
    """However answers differ, the pace lies between the slowest and the fastest."""
    pace = Pace()
    for tokens, seconds in answers:
        pace = pace.after(tokens, seconds)

    measured = [tokens / seconds for tokens, seconds in answers]
    assert min(measured) <= pace.tokens_per_second * (1 + 1e-9)
    assert pace.tokens_per_second <= max(measured) * (1 + 1e-9)
    assert pace.tokens_per_second == pytest.approx(pace.tokens_per_second)
