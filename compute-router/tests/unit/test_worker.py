"""Workers: what they may be, and who is asked first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_router.domain.operation import Operation
from compute_router.domain.target import Model
from compute_router.domain.worker import Worker, WorkerLoad, in_order_of_trial, merged_models
from service_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    "address", ["h:1", "10.0.0.1:65535", "[::1]:80", "worker-1.ns.svc.cluster.local:9000"]
)
def test_addresses(make_worker, address):
    """Names, IPv4 and IPv6 with a port."""
    assert make_worker(address=address).address == address


@pytest.mark.parametrize(
    "address", ["", "h", "h:", ":1", "h:0", "h:65536", "unix:/x:1", "h:1,g:2", "a b:1", "h:1\n"]
)
def test_impossible_addresses(make_worker, address):
    """Everything else is refused, lists and schemes too."""
    with pytest.raises(InvalidArgument):
        make_worker(address=address)


def load(worker, running=0, at_report=0):
    return WorkerLoad(worker, running, at_report)


@pytest.mark.parametrize(
    ("reported", "running", "at_report", "busy"),
    [
        (0, 0, 0, 0),
        (3, 0, 0, 3),
        (0, 2, 0, 2),
        (2, 2, 2, 2),
        (2, 3, 2, 3),
        (2, 0, 2, 0),
        (4, 1, 3, 2),
        (9, 0, 0, 4),
        (0, 0, 3, 0),
    ],
)
def test_report_is_corrected_by_what_happened_since(
    make_worker, reported, running, at_report, busy
):
    """What this router started or saw end since the report counts."""
    assert load(make_worker(slots_busy=reported), running, at_report).slots_busy == busy


def test_emptier_worker_goes_first(make_worker):
    """By share of its slots, not by number."""
    small = load(make_worker("w1", slots_total=2, slots_busy=1))
    large = load(make_worker("w2", slots_total=10, slots_busy=4))

    assert in_order_of_trial([small, large], "small", 10) == [large, small]


def test_reported_full_is_tried_last_and_certainly_full_never(make_worker):
    """A report may be old; what runs from here is certain."""
    reported = load(make_worker("w1", slots_total=1, slots_busy=1))
    certain = load(make_worker("w2", slots_total=1), running=1)
    free = load(make_worker("w3", slots_total=1))

    assert in_order_of_trial([reported, certain, free], "small", 10) == [free, reported]


def test_unfit_workers_are_left_out(make_worker, make_model):
    """Other models and leaving workers get nothing; a small context comes last."""
    other = load(make_worker("w1", models=(make_model("large"),)))
    leaving = load(make_worker("w2", draining=True))
    narrow = load(make_worker("w3", models=(make_model(context_tokens=100),)))
    wide = load(make_worker("w4", slots_busy=3))

    assert in_order_of_trial([other, leaving, narrow, wide], "small", 500) == [wide, narrow]


def test_merged_models_bound_all(make_worker, make_model):
    """Widest limits, largest overheads, no digest where they differ."""
    one = make_model(template_overhead_tokens=5, message_overhead_tokens=1)
    two = make_model(
        context_tokens=2000, default_max_tokens=50, message_overhead_tokens=3, digest="d2"
    )

    merged = merged_models(
        [make_worker("w1", models=(one, make_model("a"))), make_worker("w2", models=(two,))]
    )

    assert [model.name for model in merged] == ["a", "small"]
    small = merged[1]
    assert (small.context_tokens, small.default_max_tokens) == (2000, 100)
    assert (small.template_overhead_tokens, small.message_overhead_tokens) == (5, 3)
    assert small.digest == ""


@given(st.integers(1, 50), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_busy_is_never_absurd(total, reported, running, at_report):
    """Between what surely runs and all there is."""
    worker = Worker("w", "h:1", (Model("m", 1, 1),), total, reported)
    busy = load(worker, running, at_report).slots_busy

    assert min(running, total) <= busy <= total


def test_operations_of_workers(make_worker, make_model):
    """Together they do what one of them does; each gets only what it does itself."""
    embeds = make_model(operations=(Operation.EMBEDDING,))
    chats, both = make_worker("w1"), make_worker("w2", models=(embeds,))

    (merged,) = merged_models([chats, both])

    assert merged.operations == (Operation.CHAT, Operation.EMBEDDING)
    loads = [load(chats), load(both)]
    assert in_order_of_trial(loads, "small", 1, Operation.EMBEDDING) == [loads[1]]
    assert in_order_of_trial(loads, "small", 1) == [loads[0]]
    assert in_order_of_trial(loads, "small", 1, Operation.COMPLETION) == []
