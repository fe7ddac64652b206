"""What cost-service is told about a job."""

import pytest
from job_fakes import a_job

from job_service.adapters import documents
from job_service.adapters.cost_client import outcome_to_proto
from job_service.domain.decision import Complexity, RouteDecision
from job_service.domain.job_state import JobState
from job_service.domain.settlement import Outcome, settlement_of


def judged(score, threshold=100):
    return RouteDecision("local", "smol", "why", Complexity(score, threshold))


@pytest.mark.parametrize("score", [0, 7])
def test_type_and_complexity_are_told(score):
    """The type of a job and how its prompt was judged reach the ledger, 0 as well."""
    settlement = settlement_of(a_job(state=JobState.CANCELLED, decision=judged(score)))

    told = outcome_to_proto(settlement)

    assert told.job_type == "generation_v2"
    assert told.HasField("complexity")
    assert (told.complexity, told.complexity_threshold) == (score, 100)


def test_unjudged_prompt_has_no_complexity():
    """A job that no router saw has none, which is not 0."""
    told = outcome_to_proto(settlement_of(a_job(state=JobState.CANCELLED)))

    assert not told.HasField("complexity")
    assert not told.HasField("complexity_threshold")


def test_outcomes_of_other_releases_are_read():
    """The outbox may hold rows of replicas that say less, or more, than this one knows."""
    outcome = settlement_of(a_job(state=JobState.CANCELLED, decision=judged(7))).outcome
    document = documents.outcome_to_document(outcome)
    before = {name: value for name, value in document.items() if name != "complexity"}

    assert documents.outcome_from({**document, "from_the_future": 1}) == outcome
    assert documents.outcome_from(before).complexity is None
    assert documents.outcome_from({"job_id": "j1"}) == Outcome("j1")
