"""How demanding a prompt looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_router.domain.complexity import ComplexityScale

KEYWORDS = ("detailed", "complex", "advanced")
SCALE = ComplexityScale(100, KEYWORDS)


@pytest.mark.parametrize(
    ("prompt", "context_characters", "score"),
    [
        ("", 0, 0),
        ("one", 0, 1),
        ("one  two\nthree\tfour", 0, 4),
        ("", 9, 0),
        ("", 10, 1),
        ("", 199, 19),
        ("detailed", 0, 21),
        ("Detailed DETAILED detailed", 0, 23),
        ("a detailed, complex (advanced) plan.", 0, 5 + 60),
        ("undetailed complexity advancedly", 0, 3),
        ("complex_thing", 0, 1),
        ("über-complex", 0, 1 + 20),
        ("word " * 80 + "complex", 0, 81 + 20),
    ],
)
def test_score(prompt, context_characters, score):
    """Words, a tenth of the context's characters, 20 for each distinct whole keyword."""
    assert SCALE.measure(prompt, context_characters).score == score


@pytest.mark.parametrize(("words", "below"), [(0, True), (99, True), (100, False), (101, False)])
def test_threshold_belongs_to_the_demanding(words, below):
    """Below the threshold is local; at it is not."""
    assert SCALE.measure("w " * words, 0).is_below_threshold is below


def test_threshold_and_keywords_are_settings():
    """Other words, another limit; a keyword may be several words or signs."""
    scale = ComplexityScale(21, ("c++", "step by step", "c++"))

    found = scale.measure("explain C++ Step by step", 0)

    assert found.keywords == ("c++", "step by step")
    assert found.score == 5 + 40
    assert not found.is_below_threshold


@given(st.text(), st.integers(0, 10**9))
def test_score_is_the_sum_of_its_parts(prompt, context_characters):
    """The parts that are shown explain the score, whatever the text."""
    found = SCALE.measure(prompt, context_characters)

    assert found.score == found.words + context_characters // 10 + 20 * len(found.keywords)
    assert len(set(found.keywords)) == len(found.keywords)
    assert found.score >= 0


@given(st.text(), st.text(), st.integers(0, 1000))
def test_more_words_are_never_easier(prompt, more, context_characters):
    """Adding words, or context, never lowers the score."""
    score = SCALE.measure(prompt, context_characters).score

    assert SCALE.measure(f"{prompt} {more}", context_characters).score >= score
    assert SCALE.measure(prompt, context_characters + 10).score == score + 1
