"""The rules, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_router.domain.complexity import ComplexityScale
from compute_router.domain.decision import Exclusion, Reason
from compute_router.domain.errors import (
    ModelNotServed,
    NoCapacity,
    OperationNotServed,
    TargetUnavailable,
)
from compute_router.domain.operation import Operation
from compute_router.domain.prices import Price, PriceBook
from compute_router.domain.query import ChatMessage, Residency, RouteQuery
from compute_router.domain.routing import decide
from compute_router.domain.target import Model, TargetState

SCALE = ComplexityScale(100, ("detailed", "complex", "advanced"))
EASY, HARD = "hello", "word " * 100
EMBEDS = Model("small", 1000, 100, operations=(Operation.EMBEDDING,))
BOOK = PriceBook(
    "1",
    {
        ("local", "*"): Price(1_000_000_000_000, 1_000_000_000_000),
        ("yotta", "*"): Price(10_000_000_000_000, 10_000_000_000_000),
        ("cheap", "small"): Price(1, 1),
    },
)


def ask(targets, *, prices=BOOK, **query):
    return decide(RouteQuery(**{"model": "small", "prompt": EASY, **query}), targets, SCALE, prices)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (EASY, Reason.COMPLEXITY_BELOW_THRESHOLD),
        ("word " * 99, Reason.COMPLEXITY_BELOW_THRESHOLD),
        (HARD, Reason.YOTTA_NOT_CONFIGURED),
    ],
)
@pytest.mark.parametrize("model", ["small", "auto"])
def test_local_alone_takes_everything(make_target, prompt, reason, model):
    """Without Yotta all goes to local workers, and the reason tells."""
    decision = ask([make_target()], prompt=prompt, model=model)

    assert (decision.target, decision.model, decision.reason) == ("local", "small", reason)
    assert decision.choices == (("local", "small"),)
    assert "yotta: not configured" in decision.explanation
    assert [(a.target, a.eligible, a.reason) for a in decision.alternatives] == [
        ("yotta", False, Exclusion.NOT_CONFIGURED)
    ]


@pytest.mark.parametrize(
    ("changes", "query", "target", "reason"),
    [
        ({}, {}, "local", Reason.COMPLEXITY_BELOW_THRESHOLD),
        ({}, {"prompt": HARD}, "yotta", Reason.COMPLEXITY_AT_THRESHOLD),
        (
            {"yotta": {"models": ()}},
            {"prompt": HARD},
            "local",
            Reason.ONLY_TARGET_FOR_MODEL,
        ),
        ({"local": {"models": ()}}, {}, "yotta", Reason.ONLY_TARGET_FOR_MODEL),
        (
            {"yotta": {"models": (EMBEDS,)}},
            {"operation": Operation.EMBEDDING},
            "yotta",
            Reason.ONLY_TARGET_FOR_OPERATION,
        ),
        (
            {"local": {"models": (EMBEDS,)}},
            {"operation": Operation.EMBEDDING, "model": "auto", "prompt": HARD},
            "local",
            Reason.SAME_VECTOR_SPACE,
        ),
        (
            {"yotta": {"available": False}},
            {"prompt": HARD},
            "local",
            Reason.PREFERRED_TARGET_UNAVAILABLE,
        ),
        ({"local": {"available": False}}, {}, "yotta", Reason.PREFERRED_TARGET_UNAVAILABLE),
        (
            {},
            {"prompt": HARD, "residency": Residency.LOCAL_ONLY},
            "local",
            Reason.RESIDENCY,
        ),
        (
            {},
            {"prompt": HARD, "max_tokens": 1, "budget_headroom_nanousd": 5_000_000},
            "local",
            Reason.PREFERRED_TARGET_OVER_BUDGET,
        ),
    ],
)
def test_two_targets(make_target, changes, query, target, reason):
    """With Yotta, complexity prefers; what rules the preferred one out is the reason."""
    targets = [make_target(name, **changes.get(name, {})) for name in ("local", "yotta")]

    decision = ask(targets, **query)

    assert (decision.target, decision.reason) == (target, reason)


def test_fallback_order_is_in_the_decision(make_target):
    """Eligible alternatives follow, best first; the others say why not."""
    targets = [
        make_target("local"),
        make_target("yotta"),
        make_target("cheap"),
        make_target("far", models=()),
    ]

    decision = ask(targets, prompt=HARD, tokens_input_bound=10, max_tokens=10)

    assert [target for target, _ in decision.choices] == ["cheap", "yotta", "local"]
    assert [(a.target, a.eligible) for a in decision.alternatives] == [
        ("yotta", True),
        ("local", True),
        ("far", False),
    ]


def test_estimate_is_the_worst_case(make_target):
    """Bound of the input and the longest answer, at the target's price."""
    decision = ask([make_target()], tokens_input_bound=7, max_tokens=5)
    assert decision.estimated_cost_nanousd == 12_000_000

    by_default = ask([make_target()], tokens_input_bound=7)
    assert by_default.estimated_cost_nanousd == 107_000_000


def test_vectors_cost_no_output(make_target):
    """An embedding is estimated by its input alone."""
    decision = ask(
        [make_target(models=(EMBEDS,))],
        operation=Operation.EMBEDDING,
        tokens_input_bound=7,
        max_tokens=5,
    )

    assert decision.estimated_cost_nanousd == 7_000_000


OTHER_SPACE = Model("large", 8000, 100, operations=(Operation.EMBEDDING,))


@pytest.mark.parametrize("prompt", [EASY, HARD])
@pytest.mark.parametrize(
    ("local", "yotta", "choices"),
    [
        # Our own model, and after it only the same one.
        ((EMBEDS,), (OTHER_SPACE,), [("local", "small")]),
        ((EMBEDS,), (OTHER_SPACE, EMBEDS), [("local", "small"), ("yotta", "small")]),
        ((OTHER_SPACE, EMBEDS), (EMBEDS,), [("local", "large")]),
        # It does none: that of the cloud.
        ((Model("small", 1000, 100),), (OTHER_SPACE, EMBEDS), [("yotta", "large")]),
        ((), (EMBEDS,), [("yotta", "small")]),
    ],
)
def test_auto_mixes_no_vector_spaces(make_target, prompt, local, yotta, choices):
    """An embedding with `auto` has one model, however complex, and the explanation says so."""
    targets = [make_target("yotta", models=yotta), make_target("local", models=local)]

    decision = ask(targets, operation=Operation.EMBEDDING, model="auto", prompt=prompt)

    assert list(decision.choices) == choices
    assert f"auto is {choices[0][1]} for every embedding" in decision.explanation[0]
    assert (decision.reason is Reason.SAME_VECTOR_SPACE) is (choices[0][0] == "local")


def test_vector_space_outlasts_an_absence(make_target):
    """While our own hardware is away, its model is not exchanged for another."""
    away = make_target(models=(EMBEDS,), available=False)
    cloud = make_target("yotta", models=(OTHER_SPACE,))

    with pytest.raises(TargetUnavailable):
        ask([away, cloud], operation=Operation.EMBEDDING, model="auto")


def test_missing_workers_are_named_where_only_they_may_run_it(make_target):
    """Whoever asks for local_only learns what is away, not only what the cloud may not do."""
    local = make_target(available=False, models=(), status="no worker is registered")
    cloud = make_target("yotta", own=False)

    with pytest.raises(TargetUnavailable) as refused:
        ask([local, cloud], residency=Residency.LOCAL_ONLY, model="auto")

    assert refused.value.message == (
        "No target may run auto now: local is unavailable (no worker is registered); yotta is not "
        "our own hardware, and the request is local_only."
    )


def test_unknown_prices_estimate_zero(make_target):
    """Without a price book the decision stands, and says what it lacks."""
    decision = ask([make_target()], prices=None)

    assert decision.estimated_cost_nanousd == 0
    assert "price: unknown at the moment, estimated as 0" in decision.explanation


def test_empty_budget_leaves_the_last_word_to_admission(make_target):
    """Routing never refuses for money."""
    decision = ask([make_target()], budget_headroom_nanousd=0, max_tokens=1)

    assert decision.target == "local"
    assert any(line.startswith("budget: 0 USD is left") for line in decision.explanation)


def test_long_prompt_is_left_to_the_tokenizer(make_target):
    """A bound above the context is no proof: the target counts."""
    decision = ask([make_target()], tokens_input_bound=1001)

    assert decision.target == "local"
    assert "may be too long" in decision.explanation[0]


@pytest.mark.parametrize(
    ("targets", "query", "error"),
    [
        ([{"available": False, "models": ()}], {}, NoCapacity),
        ([{"available": False, "models": ()}], {"model": "auto"}, NoCapacity),
        ([{"models": ()}], {"model": "auto"}, NoCapacity),
        ([{}], {"model": "large"}, ModelNotServed),
        ([{"available": False}], {}, TargetUnavailable),
        ([{"own": False}], {"residency": Residency.LOCAL_ONLY}, TargetUnavailable),
        ([{}], {"operation": Operation.EMBEDDING}, OperationNotServed),
        ([{}], {"operation": Operation.EMBEDDING, "model": "auto"}, OperationNotServed),
        ([{"models": (EMBEDS,)}], {}, OperationNotServed),
        ([{"models": (EMBEDS,)}], {"model": "large"}, ModelNotServed),
        # What an absent target serves is not known: it may be just this.
        ([{"available": False, "models": ()}, {"name": "yotta"}], {"model": "large"}, NoCapacity),
        (
            [{"available": False, "models": ()}, {"name": "yotta"}],
            {"operation": Operation.EMBEDDING},
            NoCapacity,
        ),
        (
            [{}, {"name": "yotta", "own": False, "available": False, "models": ()}],
            {"model": "large", "residency": Residency.LOCAL_ONLY},
            ModelNotServed,
        ),
    ],
)
def test_nobody(make_target, targets, query, error):
    """Who could serve, and why not, decides what the caller is told."""
    with pytest.raises(error):
        ask([make_target(**changes) for changes in targets], **query)


CHATS = Model("large", 8000, 100)
MODELS = st.sampled_from([[], [EMBEDS], [CHATS], [Model("small", 1000, 100), CHATS]])
TARGETS = st.lists(
    st.builds(
        TargetState,
        name=st.sampled_from(["local", "yotta", "p1", "p2"]),
        available=st.booleans(),
        paid=st.booleans(),
        own=st.booleans(),
        models=MODELS.map(tuple),
        slots_total=st.just(1),
        slots_busy=st.just(0),
        status=st.just("s"),
    ),
    unique_by=lambda target: target.name,
)
QUERIES = st.builds(
    RouteQuery,
    model=st.sampled_from(["small", "large", "auto", "other"]),
    prompt=st.sampled_from([EASY, HARD, ""]),
    tokens_input_bound=st.integers(0, 10_000),
    max_tokens=st.integers(0, 1000),
    residency=st.sampled_from(Residency),
    budget_headroom_nanousd=st.none() | st.integers(0, 10**12),
    operation=st.sampled_from(Operation),
)


@given(TARGETS, QUERIES, st.sampled_from([None, BOOK]))
def test_decision_is_always_one_that_can_be_kept(targets, query, prices):
    """Every choice serves the model, is able, available and allowed; every target is explained."""
    by_name = {target.name: target for target in targets}
    try:
        decision = decide(query, targets, SCALE, prices)
    except (NoCapacity, ModelNotServed, OperationNotServed, TargetUnavailable):
        return

    for name, model in decision.choices:
        target = by_name[name]
        assert target.available
        assert query.operation in target.find_model(model).operations
        assert query.model in (model, "auto")
        assert target.own or query.residency is Residency.ANY
    named = {decision.target, *(other.target for other in decision.alternatives)}
    assert named == {*by_name, "yotta"}
    assert decision.estimated_cost_nanousd >= 0
    assert all(any(line.startswith(f"{t}:") for line in decision.explanation) for t in named)


def test_open_breaker_is_in_the_explanation(make_target):
    """A target that is kept out says why in its own words."""
    open_breaker = make_target("yotta", available=False, status="breaker open for 7 s more")

    decision = ask([make_target(), open_breaker], prompt=HARD)

    assert decision.reason is Reason.PREFERRED_TARGET_UNAVAILABLE
    assert "yotta: breaker open for 7 s more" in decision.explanation


def test_query_reads_the_messages_where_it_says_nothing():
    """Prompt and context come from the messages, unless they are given."""
    messages = [
        ChatMessage("system", "12345"),
        ChatMessage("user", "first"),
        ChatMessage("assistant", "reply"),
        ChatMessage("user", "last one"),
        ChatMessage("tool", "123"),
    ]

    read = RouteQuery(model="auto").with_messages(messages)
    assert (read.prompt, read.context_characters) == ("last one", 18)

    given_query = RouteQuery(model="auto", prompt="p", context_characters=3)
    assert given_query.with_messages(messages) == given_query
    only_system = RouteQuery(model="auto").with_messages(messages[:1])
    assert (only_system.prompt, only_system.context_characters) == ("12345", 0)
